"""Lends refused batches to who looks into them, and parts them into smaller ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString, Self
from uuid import UUID

from asyncpg import Record

from service.core.model import BatchState, ItemError
from service.core.outcomes import VendorError
from service.gateways.store.batches import error_json
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A refused batch, lent to this worker: nobody else looks into it until the loan ends."""

    batch_id: UUID
    epoch: int
    project_id: str
    workspace: str
    apply_user_id: str
    package_name: str
    #: In the order in which they were taken.
    pending_item_ids: tuple[str, ...]
    attempt_number: int
    #: The vendor's no.
    no: VendorError
    refused_for: timedelta
    #: Whether a call with these items was in doubt: then they may be in a package of ours.
    was_in_doubt: bool
    #: Whether the batch is a part of one that was refused before.
    is_part: bool

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Read a row of ``LEND_REFUSAL``."""
        return cls(
            batch_id=row["id"],
            epoch=row["epoch"],
            project_id=row["project_id"],
            workspace=row["workspace"],
            apply_user_id=row["apply_user_id"],
            package_name=row["package_name"],
            pending_item_ids=tuple(row["pending_item_ids"]),
            attempt_number=row["number"],
            no=VendorError(
                status=row["http_status"],
                error_code=row["error_code"],
                error_msg=row["error_msg"],
                request_id=row["vendor_request_id"],
            ),
            refused_for=row["refused_for"],
            was_in_doubt=row["was_in_doubt"],
            is_part=row["parent_id"] is not None,
        )


# A refused batch of a key; the new epoch fences off whoever looked before.
LEND_REFUSAL: LiteralString = """
WITH RECURSIVE lent AS (
    UPDATE batches SET epoch = epoch + 1, not_before = now() + $2::interval
    WHERE id = (
        SELECT id FROM batches
        WHERE batch_key = $1 AND state = 'refused' AND not_before <= clock_timestamp()
        ORDER BY not_before
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    )
    RETURNING id, epoch, project_id, workspace, apply_user_id, package_name, parent_id
), lineage AS (
    SELECT id, parent_id FROM lent
    UNION ALL
    SELECT p.id, p.parent_id FROM batches AS p JOIN lineage AS l ON p.id = l.parent_id
)
SELECT
    l.id, l.epoch, l.project_id, l.workspace, l.apply_user_id, l.package_name, l.parent_id,
    a.number, a.http_status, a.error_code, a.error_msg, a.vendor_request_id, now() - a.finished_at AS refused_for,
    EXISTS (
        SELECT FROM attempts AS d
        WHERE d.batch_id = ANY(ARRAY(SELECT n.id FROM lineage AS n)) AND d.outcome = 'in_doubt'
    ) AS was_in_doubt,
    ARRAY(
        SELECT i.pending_item_id FROM release_items AS i
        WHERE i.batch_id = l.id AND i.holder_id IS NULL
        ORDER BY i.id
    ) AS pending_item_ids
FROM lent AS l
JOIN LATERAL (
    SELECT t.number, t.http_status, t.error_code, t.error_msg, t.vendor_request_id, t.finished_at
    FROM attempts AS t
    WHERE t.batch_id = l.id ORDER BY t.number DESC LIMIT 1
) AS a ON TRUE
"""


async def lend_refusal(connection: Connection, batch_key: UUID, *, loan: timedelta) -> Refusal | None:
    """Take a refused batch of a key that is due, for as long as the loan; None where there is none."""
    row = await connection.fetchrow(LEND_REFUSAL, batch_key, loan)
    return None if row is None else Refusal.from_row(row)


# A refused batch that cannot be looked into yet. The new epoch ends the loan.
PUT_OFF_REFUSAL: LiteralString = """
UPDATE batches SET epoch = epoch + 1, not_before = now() + $3::interval
WHERE id = $1 AND epoch = $2 AND state = 'refused'
"""


async def put_off_refusal(connection: Connection, refusal: Refusal, *, delay: timedelta) -> None:
    """Have a refused batch looked into after the delay."""
    await connection.execute(PUT_OFF_REFUSAL, refusal.batch_id, refusal.epoch, delay)


# The end of a refused batch, written only while it is still lent to who parts it; what was found is kept.
END_REFUSED: LiteralString = """
WITH batch AS (
    UPDATE batches SET
        state = $3, not_before = NULL, wait_reason = NULL, updated_at = now(), finished_at = now()
    WHERE id = $1 AND epoch = $2 AND state = 'refused'
    RETURNING id
)
UPDATE attempts AS a SET evidence = coalesce(a.evidence, '{}') || $5::jsonb
FROM batch AS b
WHERE a.batch_id = b.id AND a.number = $4
"""


async def end_refused(
    connection: Connection, refusal: Refusal, *, state: BatchState, evidence: Mapping[str, object]
) -> bool:
    """End a refused batch as split or rejected; False where somebody else has meanwhile."""
    status = await connection.execute(
        END_REFUSED, refusal.batch_id, refusal.epoch, state, refusal.attempt_number, dict(evidence)
    )
    return status != "UPDATE 0"


# The items of a batch that are at fault, each with its own error.
REJECT_ITEMS: LiteralString = """
UPDATE release_items AS i SET state = 'rejected', error = bad.error
FROM unnest($2::text[], $3::jsonb[]) AS bad (pending_item_id, error)
WHERE i.batch_id = $1 AND i.holder_id IS NULL AND i.pending_item_id = bad.pending_item_id
"""


async def reject_items(connection: Connection, batch_id: UUID, errors: Mapping[str, ItemError]) -> None:
    """End the items of a batch that are at fault; ``errors`` by pending item id."""
    await connection.execute(
        REJECT_ITEMS, batch_id, list(errors), [error_json(error) for error in errors.values()]
    )


# A part of a batch: sealed, so that nothing fresh comes to it, with the parent's items that go on in it.
MAKE_CHILD: LiteralString = """
WITH child AS (
    INSERT INTO batches (
        id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, parent_id, closed_by,
        item_count, traceparent, state
    )
    SELECT
        $1, p.batch_key, p.project_id, p.workspace, p.apply_user_id, p.approver_ids, $3, p.id, p.closed_by,
        cardinality($4::text[]), p.traceparent, 'sealed'
    FROM batches AS p
    WHERE p.id = $2
    RETURNING id
)
UPDATE release_items AS i SET batch_id = c.id, state = 'batched', error = NULL
FROM child AS c
WHERE i.batch_id = $2 AND i.holder_id IS NULL AND i.pending_item_id = ANY($4::text[])
"""


async def make_child(
    connection: Connection, parent_id: UUID, *, child_id: UUID, package_name: str, items: Sequence[str]
) -> None:
    """Move some pending items of a batch into a batch of their own."""
    await connection.execute(MAKE_CHILD, child_id, parent_id, package_name, list(items))
