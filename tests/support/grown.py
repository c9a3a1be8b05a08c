"""Fills a database with a history of requests as the service writes it, the newest of them still under way."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import asyncpg

from service.core.ids import first_id_at
from service.core.request_periods import RequestPeriod
from service.gateways.store.database import Connection
from service.gateways.store.request_periods import add_period

#: Requests that share a batch.
BATCH = 20
WORKSPACES = 20
#: How the requests of the newest batches stand, the newest first.
UNDER_WAY = ("waiting", "sealed", "refused", "sending", "in_doubt", "needs_attention")
#: The same of a busy day: 3,000 requests wait, and some hundred are in every other state.
BUSY = (
    *("waiting",) * 150,
    *("sealed",) * 10,
    *("refused",) * 5,
    *("sending",) * 16,
    *("in_doubt",) * 15,
    *("needs_attention",) * 20,
)

# One row a request: number n is in batch n / 20, has one to three items, and a time that grows with n. One of a hundred
# was cancelled before it was sent; of a hundred batches one failed and one was rejected. Keys and items are others than
# those of another age.
_PLAN: LiteralString = """
CREATE TEMPORARY TABLE plan AS
WITH numbered AS (
    SELECT
        n, n / $2::integer AS batch, n % 3 + 1 AS items,
        now() - $5::interval - interval '1 second' * ($1::integer - n) AS at,
        ($3::text[])[($1::integer - 1 - n) / $2::integer + 1] AS under_way
    FROM generate_series(0, $1::integer - 1) AS n
), standing AS (
    SELECT
        n, batch, items, at,
        CASE
            WHEN under_way IS NOT NULL THEN under_way
            WHEN n % 100 = 77 THEN 'cancelled'
            WHEN batch % 100 = 1 THEN 'failed'
            WHEN batch % 100 = 2 THEN 'rejected'
            ELSE 'released'
        END AS stands
    FROM numbered
)
SELECT
    n, n + extract(EPOCH FROM $5::interval)::integer AS number, items, at, stands,
    stands NOT IN ('waiting', 'cancelled') AS is_sent,
    (lpad(to_hex((1000 * extract(epoch FROM at))::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid AS id,
    (lpad(to_hex((1000 * extract(epoch FROM min(at) OVER (PARTITION BY batch)))::bigint), 12, '0')
        || '70008' || lpad(batch::text, 15, '0'))::uuid AS batch_id,
    'ws-' || batch % $4::integer AS workspace, 'applicant-' || batch / $4::integer % 2 AS applicant,
    md5('key' || batch % ($4::integer * 2))::uuid AS batch_key,
    CASE stands
        WHEN 'waiting' THEN 'waiting' WHEN 'sealed' THEN 'batched' WHEN 'refused' THEN 'batched'
        WHEN 'sending' THEN 'releasing' ELSE stands
    END::item_state AS item_state,
    CASE
        WHEN stands IN ('failed', 'rejected') THEN jsonb_build_object(
            'code', 'vendor-' || stands, 'message', '', 'retryable', FALSE, 'vendor', jsonb_build_object(
                'status', 400, 'error_code', 'DLF.3051', 'error_msg', '', 'request_id', NULL
            )
        )
    END AS error
FROM standing
"""

_REQUESTS: LiteralString = """
INSERT INTO release_requests (
    id, caller, idempotency_key, body_digest, project_id, workspace, apply_user_id, approver_ids, batch_key, labels,
    state, error, version, created_at, updated_at, finished_at, item_count,
    rare_state
)
SELECT
    id, 'grown', md5('key' || number), sha256(n::text::bytea), 'project', workspace, applicant, '{approver}', batch_key,
    CASE n % 4 WHEN 0 THEN jsonb_build_object('run', 'run-' || n / 100) ELSE '{}'::jsonb END,
    CASE item_state WHEN 'waiting' THEN 'accepted' ELSE item_state::text END::request_state,
    error, CASE WHEN stands = 'waiting' THEN 1 WHEN is_sent THEN 3 ELSE 2 END, at, at,
    CASE WHEN item_state IN ('released', 'rejected', 'failed', 'cancelled') THEN at END, items,
    CASE WHEN item_state NOT IN ('waiting', 'releasing', 'released') THEN item_state::text END::request_state
FROM plan ORDER BY n
"""

_BATCHES: LiteralString = """
INSERT INTO batches (
    id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count, state,
    worker, lease_expires_at, not_before, wait_reason, release_package_id, error, created_at, updated_at, finished_at
)
SELECT
    batch_id, batch_key, 'project', workspace, applicant, '{approver}', 'release-' || batch_id, 'quiet', sum(items),
    stands::batch_state,
    CASE stands WHEN 'sending' THEN 'worker' END, CASE stands WHEN 'sending' THEN now() + interval '1 minute' END,
    CASE WHEN stands IN ('sealed', 'refused', 'in_doubt') THEN now() END,
    CASE WHEN stands IN ('sealed', 'refused', 'in_doubt') THEN 'backoff'::wait_reason END,
    CASE stands WHEN 'released' THEN batch_id::text END, (array_agg(error))[1], min(at), max(at),
    CASE WHEN stands IN ('released', 'rejected', 'failed') THEN max(at) END
FROM plan WHERE is_sent
GROUP BY batch_id, batch_key, workspace, applicant, stands ORDER BY batch_id
"""

_ATTEMPTS: LiteralString = """
INSERT INTO attempts (
    batch_id, number, epoch, outcome, started_at, finished_at, http_status, error_code, evidence
)
SELECT
    id, 1, 1,
    CASE state
        WHEN 'sending' THEN NULL WHEN 'released' THEN 'released' WHEN 'sealed' THEN 'throttled'
        WHEN 'in_doubt' THEN 'in_doubt' WHEN 'needs_attention' THEN 'in_doubt' ELSE 'rejected'
    END::attempt_outcome,
    created_at, CASE WHEN state <> 'sending' THEN updated_at END, CASE state WHEN 'released' THEN 200 ELSE 400 END,
    CASE WHEN state <> 'released' THEN 'DLF.3051' END,
    CASE state WHEN 'released' THEN jsonb_build_object('release_package_id', release_package_id) END
FROM batches WHERE id IN (SELECT p.batch_id FROM plan AS p) ORDER BY id
"""

_ITEMS: LiteralString = """
INSERT INTO release_items (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, batch_id, state, error,
    is_free
)
SELECT
    id, position, 'project', workspace, (10000000 + 3 * number + position)::text, batch_key, 'normal', at,
    CASE WHEN is_sent THEN batch_id END, item_state, error, item_state IN ('rejected', 'failed', 'cancelled')
FROM plan CROSS JOIN generate_series(0, items - 1) AS position
ORDER BY n, position
"""

_KEYS: LiteralString = """
INSERT INTO idempotency_keys (idempotency_key, caller, request_id)
SELECT r.idempotency_key, r.caller, r.id FROM release_requests AS r JOIN plan AS p ON p.id = r.id
"""

_HOLDERS: LiteralString = """
INSERT INTO item_holders (pending_item_id, project_id, workspace, request_id, position)
SELECT i.pending_item_id, i.project_id, i.workspace, i.request_id, i.position
FROM release_items AS i
JOIN plan AS p ON p.id = i.request_id
WHERE i.holder_id IS NULL AND NOT i.is_free
"""

_EVENTS: LiteralString = """
INSERT INTO request_events (request_id, seq, at, type, state, batch_id, attempt)
SELECT
    r.id, seq, r.created_at, 'request.' || s.state, s.state, CASE WHEN seq > 1 THEN p.batch_id END,
    CASE WHEN seq > 1 THEN 1 END
FROM release_requests AS r
JOIN plan AS p ON p.id = r.id
CROSS JOIN generate_series(1, r.version) AS seq
CROSS JOIN LATERAL (
    SELECT CASE WHEN seq = r.version THEN r.state WHEN seq = 1 THEN 'accepted' ELSE 'releasing' END AS state
) AS s
ORDER BY p.n, seq
"""


async def _make_period(connection: Connection, oldest: datetime) -> None:
    """Make one for what is older than the first."""
    starts_at = oldest.replace(hour=0, minute=0, second=0, microsecond=0)
    first_id = await connection.fetchval("SELECT from_id FROM request_periods ORDER BY from_id LIMIT 1")
    if first_id_at(starts_at) < first_id:
        period = RequestPeriod(name=f"{starts_at:%Y%m%d}", from_id=first_id_at(starts_at), to_id=first_id)
        assert await add_period(connection, period)


#: What autovacuum looks at: what has rows, and of what is partitioned the partitions.
_FILLED: LiteralString = """
SELECT c.oid::regclass::text AS name FROM pg_class AS c
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND pg_relation_size(c.oid) > 0
"""


async def grow(
    database_url: str, *, requests: int, under_way: Sequence[str] = UNDER_WAY, age: timedelta = timedelta(0)
) -> None:
    """Add so many requests, in 20 workspaces and two batch keys in each, and tell PostgreSQL what is there.

    The newest is as old as ``age``, the oldest as many seconds older. ``under_way`` is how the requests of the newest
    batches stand, the newest first. Where a superuser does it, foreign keys are not checked and no trigger runs: that
    takes longest.
    """
    connection = await asyncpg.connect(database_url, timeout=60, command_timeout=900)
    try:
        with suppress(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SET session_replication_role = replica")
        await _make_period(connection, datetime.now(UTC) - age - timedelta(seconds=requests))
        await connection.execute(_PLAN, requests, BATCH, list(under_way), WORKSPACES, age)
        await connection.execute("ANALYZE plan")
        for statement in (_REQUESTS, _KEYS, _BATCHES, _ATTEMPTS, _ITEMS, _HOLDERS, _EVENTS):
            await connection.execute(statement)
        for table in await connection.fetch(_FILLED):
            await connection.execute(f"VACUUM (ANALYZE) {table['name']}")
    finally:
        await connection.close()
