"""Fills a database with what operators leave behind: an audit trail, operations, rejects, keys, settings, workers."""

from typing import LiteralString

import asyncpg

# Ids that sort by time, as the service makes them: number n is as many minutes old.
_IDS: LiteralString = """
CREATE OR REPLACE FUNCTION pg_temp.id_of(n bigint) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((1000 * extract(epoch FROM now() - n * interval '1 minute'))::bigint), 12, '0')
        || '7000' || '8' || lpad(n::text, 15, '0'))::uuid
$$
"""

# Of a hundred entries 90 are of requests, 9 of workspaces, and one is of a key, which belongs to no workspace.
_ENTRIES: LiteralString = """
INSERT INTO audit_log (id, at, actor, action, target, project_id, workspace, reason, before, after)
SELECT
    pg_temp.id_of(n), now() - n * interval '1 minute', 'actor-' || n % 7,
    CASE WHEN n % 100 = 0 THEN 'key.created' WHEN n % 11 = 0 THEN 'workspace.paused' ELSE 'request.cancelled' END,
    CASE WHEN n % 11 = 0 AND n % 100 <> 0 THEN 'project/ws-' || n % 20 ELSE gen_random_uuid()::text END,
    CASE WHEN n % 100 <> 0 THEN 'project' END, CASE WHEN n % 100 <> 0 THEN 'ws-' || n % 20 END,
    'a reason of some words', '{"state": "accepted"}', '{"state": "cancelled"}'
FROM generate_series($1::integer, 1, -1) AS n
"""

_OPERATIONS: LiteralString = """
INSERT INTO operations (id, action, filter, caller, actor, visible, reason, total, state, created_at, finished_at)
SELECT
    pg_temp.id_of(n), 'cancel', jsonb_build_object('workspace', 'ws-' || n % 20), 'caller-' || n % 5, 'actor',
    '{%}', 'a reason', n, 'done', now() - n * interval '1 minute', now()
FROM generate_series($1::integer, 1, -1) AS n
"""

_REJECTS: LiteralString = """
INSERT INTO rejects (id, at, queue, job_id, entry_digest, code, problem, payload, payload_bytes)
SELECT
    pg_temp.id_of(n), now() - n * interval '1 minute', 'release:requests', 'job-' || n, sha256(n::text::bytea),
    'not-json', '{"code": "not-json"}', 'rubbish', 7
FROM generate_series($1::integer, 1, -1) AS n
"""

_KEYS: LiteralString = """
INSERT INTO api_keys (id, name, key_sha256, scopes, workspaces, created_at, revoked_at)
SELECT
    pg_temp.id_of(n), 'key-' || n, sha256(n::text::bytea), '{read,submit}', '{*/*}', now() - n * interval '1 day',
    CASE WHEN n % 2 = 0 THEN now() END
FROM generate_series(1, $1::integer) AS n
"""

_WORKSPACES: LiteralString = """
INSERT INTO workspaces (project_id, workspace, rate, paused_at, paused_reason)
SELECT
    'project', 'ws-' || n, CASE WHEN n % 3 = 0 THEN 5 END, CASE WHEN n % 10 = 0 THEN now() END,
    CASE WHEN n % 10 = 0 THEN 'month end' END
FROM generate_series(0, $1::integer - 1) AS n
ON CONFLICT DO NOTHING
"""

_WORKERS: LiteralString = """
INSERT INTO workers (id, host, pid, version, started_at, seen_at)
SELECT 'worker-' || n, 'host-' || n % 5, n, '0', now() - interval '1 hour', now() - n % 7 * interval '1 minute'
FROM generate_series(1, $1::integer) AS n
"""


async def keep(database_url: str, *, entries: int) -> None:
    """Add so many entries of the audit trail, and fewer of everything else, and tell PostgreSQL what is there."""
    connection = await asyncpg.connect(database_url, timeout=60, command_timeout=300)
    try:
        await connection.execute(_IDS)
        await connection.execute(_ENTRIES, entries)
        await connection.execute(_OPERATIONS, entries // 20)
        await connection.execute(_REJECTS, entries // 20)
        await connection.execute(_KEYS, 100)
        await connection.execute(_WORKSPACES, 20)
        await connection.execute(_WORKERS, 40)
        await connection.execute("ANALYZE audit_log, operations, rejects, api_keys, workspaces, workers")
    finally:
        await connection.close()
