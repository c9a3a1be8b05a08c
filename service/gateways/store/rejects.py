"""Keeps what came through the queue and is no release request: bounded, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from service.core.rejects import MOST_BYTES, Reject
from service.gateways.store.database import Connection

# An entry that is looked at again is listed once.
INSERT_REJECT: LiteralString = """
INSERT INTO rejects (
    id, queue, job_id, entry_digest, code, problem, payload, payload_bytes, project_id, workspace
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (entry_digest) DO NOTHING
"""


async def insert_reject(connection: Connection, reject: Reject) -> None:
    """List something that was refused, unless it is listed already."""
    project_id, workspace = reject.place or (None, None)
    await connection.execute(
        INSERT_REJECT,
        reject.reject_id,
        reject.queue,
        reject.job_id,
        reject.digest,
        reject.code,
        dict(reject.problem),
        None if reject.payload is None else reject.payload[:MOST_BYTES],
        reject.payload_bytes,
        project_id,
        workspace,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReject:
    """Something that was refused, as readers see it."""

    reject_id: UUID
    at: datetime
    queue: str
    job_id: str
    code: str
    problem: dict[str, Any]
    payload: bytes | None
    payload_bytes: int | None
    project_id: str | None
    workspace: str | None


# The newest first. What names no workspace is for those who are told so.
LIST_REJECTS: LiteralString = """
SELECT
    r.id AS reject_id, r.at, r.queue, r.job_id, r.code, r.problem, r.payload, r.payload_bytes, r.project_id, r.workspace
FROM rejects AS r
WHERE
    coalesce(r.project_id || '/' || r.workspace LIKE ANY($1::text[]), $2::boolean)
    AND r.id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY r.id DESC
LIMIT $4
"""


async def list_rejects(
    connection: Connection,
    *,
    visible: Sequence[str],
    shows_placeless: bool,
    before: UUID | None,
    limit: int,
) -> list[KeptReject]:
    """Return some of what was refused, from behind the given one; what names no workspace only where told so."""
    rows = await connection.fetch(LIST_REJECTS, visible, shows_placeless, before, limit)
    return [KeptReject(**row) for row in rows]


# All but the newest, and those that are old; another worker's share is passed over.
FORGET_REJECTS: LiteralString = """
WITH too_many AS (
    (SELECT id FROM rejects ORDER BY id DESC OFFSET $1 LIMIT 10000)
    UNION
    (SELECT id FROM rejects WHERE at < now() - $2::interval ORDER BY id LIMIT 10000)
), doomed AS (
    SELECT r.id FROM rejects AS r JOIN too_many AS t ON t.id = r.id FOR UPDATE OF r SKIP LOCKED
)
DELETE FROM rejects AS r USING doomed AS d WHERE r.id = d.id
"""


async def forget_rejects(connection: Connection, *, keep: int, kept_for: timedelta) -> None:
    """Delete what is too much or too old."""
    await connection.execute(FORGET_REJECTS, keep, kept_for)
