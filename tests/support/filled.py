"""Fills a database with release requests, faster than any door takes them."""

import asyncpg

_REQUESTS = """
INSERT INTO release_requests (
    id, caller, idempotency_key, body_digest, project_id, workspace, apply_user_id, approver_ids, batch_key,
    labels, state, error, item_count, created_at, finished_at
)
SELECT
    gen_random_uuid(), 'filler', 'key-' || n, sha256(n::text::bytea), 'project', 'ws-' || n % 50, 'applicant',
    '{approver}', gen_random_uuid(),
    CASE n % 4 WHEN 0 THEN '{}'::jsonb ELSE jsonb_build_object('team', 'team-' || n % 10) END,
    (CASE n % 100 WHEN 1 THEN 'failed' WHEN 2 THEN 'cancelled' ELSE 'released' END)::request_state,
    CASE n % 100 WHEN 1
        THEN '{"code": "attempts-used-up", "message": "", "retryable": true, "vendor": null}'::jsonb
    END,
    1, now() - n * interval '1 second', now()
FROM generate_series(1, $1::integer) AS n
"""
_KEYS = """
INSERT INTO idempotency_keys (idempotency_key, caller, request_id)
SELECT r.idempotency_key, r.caller, r.id FROM release_requests AS r
WHERE r.caller = 'filler'
"""
_ITEMS = """
INSERT INTO release_items (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, state
)
SELECT r.id, 0, r.project_id, r.workspace, 'item-' || substr(r.idempotency_key, 5), r.batch_key, 'normal',
    r.created_at, 'cancelled'
FROM release_requests AS r
WHERE r.caller = 'filler'
"""


async def fill(database_url: str, *, count: int) -> None:
    """Add finished requests of one item each: in 50 workspaces, three quarters with a label, a hundredth failed.

    Request number n has the idempotency key ``key-n``, the item ``item-n``, and was created n seconds ago.
    """
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_REQUESTS, count, timeout=120)
        await connection.execute(_KEYS, timeout=120)
        await connection.execute(_ITEMS, timeout=120)
        await connection.execute("ANALYZE release_requests, release_items")
    finally:
        await connection.close()
