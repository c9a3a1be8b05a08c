"""Makes batches of waiting items and claims them for one call: all that is written before the call."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from asyncpg import Record

from service.core.batch_key import BatchKey
from service.core.model import Batch, ClosedBy, WaitReason
from service.core.place import Place
from service.core.planning import OVERTAKEN_FOR, share_of_overtaken
from service.gateways.store.database import Connection
from service.gateways.store.progress import Carried


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedItem:
    """A waiting item that this transaction has locked."""

    item_id: int
    request_id: UUID
    pending_item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The items that this transaction has locked, and the key that they share."""

    key: BatchKey
    traceparent: str | None
    items: tuple[ClaimedItem, ...]


# The items of a key that are due and not past their deadline, none of a paused workspace: first a share for those that
# have been overtaken for too long, then by priority. What another worker takes is passed over. The batch key, spelled
# out, is that of any of their requests.
CLAIM_ITEMS: LiteralString = """
WITH overtaken AS (
    SELECT i.id, i.request_id, i.pending_item_id
    FROM release_items AS i
    WHERE
        i.batch_key = $1 AND i.batch_id IS NULL AND NOT i.is_free AND i.holder_id IS NULL
        AND i.due_from <= now() - $4::interval
        AND coalesce(i.deadline > clock_timestamp(), TRUE)
    ORDER BY i.due_from, i.id
    LIMIT $3
    FOR NO KEY UPDATE SKIP LOCKED
), first AS (
    SELECT i.id, i.request_id, i.pending_item_id
    FROM release_items AS i
    WHERE
        i.batch_key = $1 AND i.batch_id IS NULL AND NOT i.is_free AND i.holder_id IS NULL
        AND i.due_from <= clock_timestamp()
        AND coalesce(i.deadline > clock_timestamp(), TRUE)
        AND i.id <> ALL(ARRAY(SELECT o.id FROM overtaken AS o))
    ORDER BY i.priority, i.id
    LIMIT $2 - (SELECT count(*) FROM overtaken)
    FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    SELECT
        array_agg(c.id) AS item_ids, array_agg(c.request_id) AS request_ids,
        array_agg(c.pending_item_id) AS pending_item_ids
    FROM (
        SELECT o.id, o.request_id, o.pending_item_id FROM overtaken AS o
        UNION ALL
        SELECT f.id, f.request_id, f.pending_item_id FROM first AS f
    ) AS c
    WHERE NOT EXISTS (
        SELECT FROM workspaces AS w WHERE w.project_id = $5 AND w.workspace = $6 AND w.paused_at IS NOT NULL
    )
)
SELECT
    c.item_ids, c.request_ids, c.pending_item_ids,
    r.project_id, r.workspace, r.apply_user_id, r.approver_ids, r.package_name, r.traceparent
FROM claimed AS c
JOIN release_requests AS r ON r.id = c.request_ids[1]
"""


async def claim_items(
    connection: Connection, batch_key: UUID, *, place: Place, max_items: int
) -> Claimed | None:
    """Lock up to ``max_items`` waiting items of a key, or return None where none is left or the place is paused."""
    share = share_of_overtaken(max_items, is_their_turn=random.random() < 1 / 2)  # noqa: S311 - hides nothing
    row = await connection.fetchrow(
        CLAIM_ITEMS, batch_key, max_items, share, OVERTAKEN_FOR, place.project_id, place.workspace
    )
    if row is None:
        return None
    columns = zip(row["item_ids"], row["request_ids"], row["pending_item_ids"], strict=True)
    return Claimed(
        key=_key_from_row(row),
        traceparent=row["traceparent"],
        items=tuple(
            ClaimedItem(item_id=item_id, request_id=request_id, pending_item_id=pending_item_id)
            for item_id, request_id, pending_item_id in columns
        ),
    )


def _key_from_row(row: Record) -> BatchKey:
    return BatchKey.of(
        project_id=row["project_id"],
        workspace=row["workspace"],
        apply_user_id=row["apply_user_id"],
        approver_ids=row["approver_ids"],
        package_name=row["package_name"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who works on a batch, and for how long nobody else may."""

    worker: str
    duration: timedelta


# A new batch under a lease, its first attempt, and its items: all before the call. Requests that are in it as a whole
# are carried on here; of the others, which other batches may be writing at this moment, it is only told that there are
# some.
SEAL_BATCH: LiteralString = """
WITH batch AS (
    INSERT INTO batches (
        id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count,
        traceparent, state, worker, lease_expires_at
    )
    VALUES (
        $1, $2, $3, $4, $5, $6, $7, $8::text::closed_by, cardinality($9::bigint[]), $10, 'sending', $11,
        now() + $12::interval
    )
    RETURNING id, epoch
), attempt AS (
    INSERT INTO attempts (batch_id, number, epoch, manual)
    SELECT
        b.id, 1, b.epoch, EXISTS (SELECT FROM release_items AS i WHERE i.id = ANY($9::bigint[]) AND i.manual)
    FROM batch AS b
), items AS (
    UPDATE release_items SET state = 'releasing', batch_id = $1 WHERE id = ANY($9::bigint[])
    RETURNING request_id
), counts AS (
    SELECT request_id, count(*) AS items FROM items GROUP BY request_id
), whole AS (
    UPDATE release_requests AS r SET
        state = 'releasing', error = NULL, version = r.version + 1, updated_at = clock_timestamp()
    FROM counts AS c
    WHERE r.id = c.request_id AND r.item_count = c.items AND r.finished_at IS NULL
    AND r.id = ANY(ARRAY(SELECT m.request_id FROM counts AS m)) -- or all requests are read where statistics are old
    RETURNING r.id, r.version
), event AS (
    INSERT INTO request_events (request_id, seq, at, type, state, batch_id, attempt, detail)
    SELECT w.id, w.version, clock_timestamp(), 'request.releasing', 'releasing', $1, 1, $13::jsonb
    FROM whole AS w
)
SELECT
    ARRAY(SELECT w.id FROM whole AS w) AS request_ids,
    (SELECT count(*) FROM counts) > (SELECT count(*) FROM whole)
    OR EXISTS (SELECT FROM release_items AS a WHERE a.holder_id = ANY($9::bigint[])) AS has_others
"""


async def seal_batch(
    connection: Connection, batch: Batch, *, items: Sequence[ClaimedItem], closed_by: ClosedBy, lease: Lease
) -> Carried:
    """Write a new batch, already claimed for its first call."""
    row = await connection.fetchrow(
        SEAL_BATCH,
        batch.batch_id,
        batch.key.digest,
        batch.key.project_id,
        batch.key.workspace,
        batch.key.apply_user_id,
        list(batch.key.approver_ids),
        batch.package_name,
        closed_by,
        [item.item_id for item in items],
        batch.traceparent,
        lease.worker,
        lease.duration,
        claim_detail(batch),
    )
    if row is None:
        raise AssertionError("what selects from nothing is one row")
    return Carried.from_row(row)


def claim_detail(batch: Batch) -> dict[str, object]:
    """Return what the timelines of requests say of the claim of their batch."""
    return {"package_name": batch.package_name}


# A sealed batch that may be sent again, claimed for the next call: the first after an operator has said so is manual,
# and it ages from when its workspace was resumed. A part of one item has the doubts of the batches that it was parted
# from: a no to it may mean that it is in a package of theirs. A no to a larger part is only parted.
CLAIM_SEALED: LiteralString = """
WITH RECURSIVE batch AS (
    UPDATE batches SET
        state = 'sending', epoch = epoch + 1, worker = $2, lease_expires_at = now() + $3::interval,
        not_before = NULL, wait_reason = NULL, updated_at = now()
    WHERE id = (
        SELECT b.id FROM batches AS b
        LEFT JOIN workspaces AS w ON w.project_id = b.project_id AND w.workspace = b.workspace
        WHERE
            b.batch_key = $1 AND b.state = 'sealed' AND coalesce(b.not_before, b.created_at) <= clock_timestamp()
            AND w.paused_at IS NULL
        ORDER BY b.created_at
        LIMIT 1
        FOR NO KEY UPDATE OF b SKIP LOCKED
    )
    RETURNING
        id, epoch, project_id, workspace, apply_user_id, approver_ids, package_name, counted_attempts, traceparent,
        clock_timestamp() - greatest(created_at, (
            SELECT w.resumed_at FROM workspaces AS w
            WHERE w.project_id = batches.project_id AND w.workspace = batches.workspace
        )) AS age, CASE item_count WHEN 1 THEN parent_id END AS parent_id
), lineage AS (
    SELECT id, parent_id FROM batch
    UNION ALL
    SELECT p.id, p.parent_id FROM batches AS p JOIN lineage AS l ON p.id = l.parent_id
), attempt AS (
    INSERT INTO attempts (batch_id, number, epoch, manual)
    SELECT
        b.id, 1 + coalesce(a.number, 0), b.epoch,
        coalesce(a.evidence -> 'resolution' ->> 'decision' = 'resend', FALSE)
    FROM batch AS b
    LEFT JOIN LATERAL (
        SELECT t.number, t.evidence FROM attempts AS t WHERE t.batch_id = b.id ORDER BY t.number DESC LIMIT 1
    ) AS a ON TRUE
    RETURNING number
), items AS (
    UPDATE release_items AS i SET state = 'releasing' FROM batch AS b WHERE i.batch_id = b.id
    RETURNING i.id, i.holder_id, i.pending_item_id
)
SELECT
    b.id, b.epoch, b.project_id, b.workspace, b.apply_user_id, b.approver_ids, b.package_name,
    b.counted_attempts, b.traceparent, b.age,
    (SELECT number FROM attempt) AS attempt_number,
    EXISTS (
        SELECT FROM attempts AS a
        WHERE a.batch_id = ANY(ARRAY(SELECT l.id FROM lineage AS l)) AND a.outcome = 'in_doubt'
    ) AS was_in_doubt,
    ARRAY(SELECT i.pending_item_id FROM items AS i WHERE i.holder_id IS NULL ORDER BY i.id) AS pending_item_ids
FROM batch AS b
"""


async def claim_sealed(connection: Connection, batch_key: UUID, *, lease: Lease) -> Batch | None:
    """Claim the oldest sealed batch of a key that may be sent now, or return None; none of a paused workspace is."""
    row = await connection.fetchrow(CLAIM_SEALED, batch_key, lease.worker, lease.duration)
    if row is None:
        return None
    return Batch(
        batch_id=row["id"],
        key=_key_from_row(row),
        package_name=row["package_name"],
        pending_item_ids=tuple(row["pending_item_ids"]),
        epoch=row["epoch"],
        attempt_number=row["attempt_number"],
        counted_attempts=row["counted_attempts"],
        was_in_doubt=row["was_in_doubt"],
        age=row["age"],
        traceparent=row["traceparent"],
    )


# The sealed batch that would be claimed next, which waits instead; its key goes on.
PUT_OFF: LiteralString = """
UPDATE batches SET not_before = now() + $2::interval, wait_reason = $3::text::wait_reason, updated_at = now()
WHERE id = (
    SELECT id FROM batches
    WHERE batch_key = $1 AND state = 'sealed' AND coalesce(not_before, created_at) <= clock_timestamp()
    ORDER BY created_at
    LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED
)
"""


async def put_off(connection: Connection, batch_key: UUID, *, reason: WaitReason, delay: timedelta) -> None:
    """Have the oldest sealed batch of a key that is due wait, at no cost."""
    await connection.execute(PUT_OFF, batch_key, delay, reason)
