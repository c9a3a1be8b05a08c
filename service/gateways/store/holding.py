"""Settles who holds a pending item: the first that asked, and beside it those who want the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString, Self
from uuid import UUID

from asyncpg import Record

from service.gateways.store.accepting import NewRequest
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRef:
    """One item of a request that is about to be written."""

    request: NewRequest
    position: int

    @property
    def pending_item_id(self) -> str:
        """The vendor's id of the item."""
        return self.request.submission.pending_item_ids[self.position]

    @property
    def place(self) -> tuple[str, str, str]:
        """Project, workspace and item: what only one live row may hold."""
        key = self.request.submission.key
        return key.project_id, key.workspace, self.pending_item_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The live or released row that holds a pending item, and for whom."""

    item_id: int
    request_id: UUID
    project_id: str
    workspace: str
    pending_item_id: str
    apply_user_id: str
    approver_ids: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Read a row of ``FIND_HOLDERS``."""
        return cls(
            item_id=row["id"],
            request_id=row["request_id"],
            project_id=row["project_id"],
            workspace=row["workspace"],
            pending_item_id=row["pending_item_id"],
            apply_user_id=row["apply_user_id"],
            approver_ids=tuple(row["approver_ids"]),
        )


# In the order of the items: two processes that ask for the same wait for each other, never crosswise. An item that is
# held is left out.
HOLD_ITEMS: LiteralString = """
INSERT INTO item_holders (request_id, position, project_id, workspace, pending_item_id)
SELECT g.request_id, g.position, g.project_id, g.workspace, g.pending_item_id
FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[])
    AS g (request_id, position, project_id, workspace, pending_item_id)
ORDER BY g.project_id, g.workspace, g.pending_item_id
ON CONFLICT DO NOTHING
RETURNING request_id, position
"""

INSERT_HOLDERS: LiteralString = """
INSERT INTO release_items (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, deadline
)
SELECT
    g.request_id, g.position, g.project_id, g.workspace, g.pending_item_id, g.batch_key, g.priority,
    greatest(now(), g.not_before), g.deadline
FROM unnest(
    $1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::priority[],
    $8::timestamptz[], $9::timestamptz[]
) AS g (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, not_before, deadline
)
"""


async def insert_holders(connection: Connection, items: Sequence[ItemRef]) -> set[tuple[UUID, int]]:
    """Insert the items that nobody holds; return (request id, position) of those."""
    rows = await connection.fetch(HOLD_ITEMS, *_columns([_holder_row(item)[:5] for item in items]))
    held = {(row["request_id"], row["position"]) for row in rows}
    free = [_holder_row(item) for item in items if (item.request.request_id, item.position) in held]
    if free:
        await connection.execute(INSERT_HOLDERS, *_columns(free))
    return held


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _holder_row(item: ItemRef) -> tuple[object, ...]:
    submission = item.request.submission
    return (
        item.request.request_id,
        item.position,
        submission.key.project_id,
        submission.key.workspace,
        item.pending_item_id,
        submission.key.digest,
        submission.priority,
        submission.not_before,
        submission.deadline,
    )


# The holders of items, locked so that none can change state before the rows that attach to them are there.
FIND_HOLDERS: LiteralString = """
SELECT
    i.id, i.request_id, i.project_id, i.workspace, i.pending_item_id, r.apply_user_id,
    ARRAY(SELECT a FROM unnest(r.approver_ids) AS a ORDER BY a COLLATE "C") AS approver_ids
FROM unnest($1::text[], $2::text[], $3::text[]) AS g (project_id, workspace, pending_item_id)
JOIN item_holders AS h
    ON h.project_id = g.project_id AND h.workspace = g.workspace AND h.pending_item_id = g.pending_item_id
    AND h.pending_item_id = ANY($3::text[]) -- or all holders are read where statistics are old
JOIN release_items AS i
    ON i.request_id = h.request_id AND i.position = h.position AND i.holder_id IS NULL AND NOT i.is_free
JOIN release_requests AS r ON r.id = h.request_id
ORDER BY i.id
FOR SHARE OF i
"""


async def find_holders(connection: Connection, items: Sequence[ItemRef]) -> list[Holder]:
    """Return and lock the rows that hold the given items."""
    keys = [item.request.submission.key for item in items]
    rows = await connection.fetch(
        FIND_HOLDERS,
        [key.project_id for key in keys],
        [key.workspace for key in keys],
        [item.pending_item_id for item in items],
    )
    return [Holder.from_row(row) for row in rows]


# Rows that share the fate of a holder, starting from where it stands; not of one that lost its item at the end of its
# retention, before it was locked.
INSERT_ATTACHED: LiteralString = """
INSERT INTO release_items (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, deadline,
    holder_id, batch_id, state, error
)
SELECT
    g.request_id, g.position, h.project_id, h.workspace, h.pending_item_id, g.batch_key, g.priority,
    greatest(now(), g.not_before), g.deadline, h.id, h.batch_id, h.state, h.error
FROM unnest(
    $1::bigint[], $2::uuid[], $3::smallint[], $4::uuid[], $5::priority[], $6::timestamptz[], $7::timestamptz[]
) AS g (holder_id, request_id, position, batch_key, priority, not_before, deadline)
JOIN release_items AS h ON h.id = g.holder_id
WHERE EXISTS (SELECT FROM item_holders AS k WHERE k.request_id = h.request_id AND k.position = h.position)
RETURNING request_id, position
"""


async def insert_attached(
    connection: Connection, items: Sequence[tuple[ItemRef, Holder]]
) -> set[tuple[UUID, int]]:
    """Attach items to the rows that hold them; return (request id, position) of those that were attached."""
    rows = await connection.fetch(
        INSERT_ATTACHED, *_columns([_attached_row(item, holder) for item, holder in items])
    )
    return {(row["request_id"], row["position"]) for row in rows}


def _attached_row(item: ItemRef, holder: Holder) -> tuple[object, ...]:
    submission = item.request.submission
    return (
        holder.item_id,
        item.request.request_id,
        item.position,
        submission.key.digest,
        submission.priority,
        submission.not_before,
        submission.deadline,
    )
