"""Reads what a batch is a part of, and what became of it where it was parted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from service.core.model import BatchState
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """A batch that another was parted from, or into."""

    batch_id: UUID
    state: BatchState
    item_count: int
    release_package_id: str | None


FIND_RELATIVES: LiteralString = """
SELECT b.id, b.state, b.item_count, b.release_package_id
FROM batches AS b
WHERE b.id = ANY($1::uuid[])
ORDER BY b.id
"""


async def find_relatives(connection: Connection, batch_ids: Sequence[UUID]) -> list[Relative]:
    """Return these batches, in the order of their ids."""
    rows = await connection.fetch(FIND_RELATIVES, batch_ids)
    return [
        Relative(
            batch_id=row["id"],
            state=BatchState(row["state"]),
            item_count=row["item_count"],
            release_package_id=row["release_package_id"],
        )
        for row in rows
    ]


# The items that a batch was made of: its own, and those that went on in its parts.
ITEMS_OF_FAMILY: LiteralString = """
WITH RECURSIVE family AS (
    SELECT $1::uuid AS id
    UNION
    SELECT part.id::uuid
    FROM family AS f
    JOIN attempts AS a ON a.batch_id = f.id
    CROSS JOIN LATERAL jsonb_array_elements_text(a.evidence -> 'into') AS part (id)
)
SELECT i.pending_item_id
FROM release_items AS i
WHERE i.batch_id = ANY(ARRAY(SELECT f.id FROM family AS f)) AND i.holder_id IS NULL
ORDER BY i.id
"""


async def items_of_family(connection: Connection, batch_id: UUID) -> list[str]:
    """Return the pending items that a batch was made of, as far as they are still in it or in its parts."""
    return [row["pending_item_id"] for row in await connection.fetch(ITEMS_OF_FAMILY, batch_id)]
