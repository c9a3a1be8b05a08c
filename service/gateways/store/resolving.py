"""Writes an operator's decision on a batch that waits for one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from service.core.model import BatchState, Conclusion
from service.core.outcomes import VendorError
from service.gateways.store.batches import error_json
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBatch:
    """A batch that this transaction has locked."""

    batch_id: UUID
    state: BatchState
    epoch: int
    batch_key: UUID
    project_id: str
    workspace: str
    error: Mapping[str, Any] | None


# A batch, where it lies in a workspace that matches one of the patterns.
LOCK_BATCH: LiteralString = """
SELECT b.id, b.state, b.epoch, b.batch_key, b.project_id, b.workspace, b.error
FROM batches AS b
WHERE b.id = $1 AND b.project_id || '/' || b.workspace LIKE ANY($2::text[])
FOR NO KEY UPDATE
"""


async def lock_batch(connection: Connection, batch_id: UUID, *, visible: Sequence[str]) -> LockedBatch | None:
    """Lock a batch, or return None where there is none in the visible workspaces."""
    row = await connection.fetchrow(LOCK_BATCH, batch_id, visible)
    if row is None:
        return None
    return LockedBatch(
        batch_id=row["id"],
        state=BatchState(row["state"]),
        epoch=row["epoch"],
        batch_key=row["batch_key"],
        project_id=row["project_id"],
        workspace=row["workspace"],
        error=row["error"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt:
    """The last call that was made for a batch, and what the vendor said to it, if anything."""

    number: int
    words: VendorError | None


# Read after the lock: what a statement sees beside the row that it locks may be older.
LAST_ATTEMPT: LiteralString = """
SELECT a.number, a.http_status, a.error_code, a.error_msg, a.vendor_request_id
FROM attempts AS a
WHERE a.batch_id = $1
ORDER BY a.number DESC
LIMIT 1
"""


async def last_attempt(connection: Connection, batch_id: UUID) -> LastAttempt | None:
    """Return the last attempt of a batch."""
    row = await connection.fetchrow(LAST_ATTEMPT, batch_id)
    if row is None:
        return None
    words = None
    if row["http_status"] is not None:
        words = VendorError(
            status=row["http_status"],
            error_code=row["error_code"],
            error_msg=row["error_msg"],
            request_id=row["vendor_request_id"],
        )
    return LastAttempt(number=row["number"], words=words)


# Whether this very decision was written, though perhaps nobody heard of it.
IS_RESOLVED_BY: LiteralString = """
SELECT EXISTS (SELECT FROM attempts WHERE batch_id = $1 AND evidence -> 'resolution' ->> 'id' = $2::text)
"""


async def is_resolved_by(connection: Connection, batch_id: UUID, resolution_id: UUID) -> bool:
    """Tell whether a batch was resolved by this very decision."""
    return bool(await connection.fetchval(IS_RESOLVED_BY, batch_id, str(resolution_id)))


REQUESTS_OF_BATCH: LiteralString = "SELECT DISTINCT request_id FROM release_items WHERE batch_id = $1"


async def requests_of_batch(connection: Connection, batch_id: UUID) -> list[UUID]:
    """Return the ids of the requests that have an item in a batch."""
    return [row["request_id"] for row in await connection.fetch(REQUESTS_OF_BATCH, batch_id)]


# One at a time may give a package to a batch: no index forbids two owners, since an answer of the vendor must be kept.
LOCK_PACKAGE: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended('release package ' || $1, 0))"

OWNER_OF_PACKAGE: LiteralString = """
SELECT b.id FROM batches AS b
WHERE b.release_package_id = $1 AND b.project_id = $2 AND b.workspace = $3
LIMIT 1
"""


async def owner_of_package(connection: Connection, batch: LockedBatch, package_id: str) -> UUID | None:
    """Return the batch that has a release package of this id in the same workspace, and let none get it meanwhile."""
    await connection.execute(LOCK_PACKAGE, package_id)
    owner: UUID | None = await connection.fetchval(
        OWNER_OF_PACKAGE, package_id, batch.project_id, batch.workspace
    )
    return owner


# The decision, written only while the batch waits for one; the new epoch fences off whoever had it before.
RESOLVE_BATCH: LiteralString = """
WITH batch AS (
    UPDATE batches SET
        state = $3::batch_state, epoch = epoch + 1, release_package_id = $4, error = $5, updated_at = now(),
        finished_at = CASE WHEN $3::batch_state IN ('released', 'rejected') THEN now() END
    WHERE id = $1 AND epoch = $2 AND state = 'needs_attention'
    RETURNING id
), attempt AS (
    UPDATE attempts AS a SET evidence = coalesce(a.evidence, '{}') || jsonb_build_object('resolution', $7::jsonb)
    FROM batch AS b WHERE a.batch_id = b.id AND a.number = $6
)
UPDATE release_items AS i SET state = $8, error = $5
FROM batch AS b
WHERE i.batch_id = b.id AND i.holder_id IS NULL
"""


async def resolve_batch(
    connection: Connection,
    batch: LockedBatch,
    *,
    attempt_number: int,
    conclusion: Conclusion,
    resolution: Mapping[str, object],
) -> None:
    """Write a decision on a batch, the attempt that was in doubt, and the items."""
    await connection.execute(
        RESOLVE_BATCH,
        batch.batch_id,
        batch.epoch,
        conclusion.batch_state,
        conclusion.release_package_id,
        error_json(conclusion.error),
        attempt_number,
        dict(resolution),
        conclusion.item_state,
    )
