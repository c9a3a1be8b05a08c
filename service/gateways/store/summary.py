"""Counts and lists everything there is, for the comparison with the vendor's side."""

from collections import Counter
from dataclasses import dataclass
from typing import LiteralString

from service.core.model import ItemState
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldItem:
    """A pending item, where it stands, and the package it went into."""

    workspace: str
    pending_item_id: str
    state: ItemState
    release_package_id: str | None


COUNT_REQUESTS: LiteralString = "SELECT state, count(*) AS count FROM release_requests GROUP BY state"


async def count_requests(connection: Connection) -> Counter[str]:
    """Count the requests by state."""
    rows = await connection.fetch(COUNT_REQUESTS)
    return Counter({row["state"]: row["count"] for row in rows})


COUNT_BATCHES: LiteralString = "SELECT state, count(*) AS count FROM batches GROUP BY state"


async def count_batches(connection: Connection) -> Counter[str]:
    """Count the batches by state."""
    rows = await connection.fetch(COUNT_BATCHES)
    return Counter({row["state"]: row["count"] for row in rows})


COUNT_ATTEMPTS: LiteralString = (
    "SELECT coalesce(outcome::text, 'open') AS outcome, count(*) AS count FROM attempts GROUP BY 1"
)


async def count_attempts(connection: Connection) -> Counter[str]:
    """Count the vendor calls by outcome; those without one are ``open``."""
    rows = await connection.fetch(COUNT_ATTEMPTS)
    return Counter({row["outcome"]: row["count"] for row in rows})


COUNT_DOUBTS: LiteralString = """
SELECT coalesce(evidence -> 'looks' -> -1 ->> 'saw', 'open') AS saw, count(*) AS count
FROM attempts
WHERE outcome = 'in_doubt'
GROUP BY 1
"""


async def count_doubts(connection: Connection) -> Counter[str]:
    """Count the calls in doubt by what the last look at the vendor's lists saw; ``open`` before the first."""
    rows = await connection.fetch(COUNT_DOUBTS)
    return Counter({row["saw"]: row["count"] for row in rows})


LIST_HELD_ITEMS: LiteralString = """
SELECT i.workspace, i.pending_item_id, i.state, b.release_package_id
FROM release_items AS i
LEFT JOIN batches AS b ON b.id = i.batch_id
WHERE i.holder_id IS NULL
ORDER BY i.id
"""


async def list_held_items(connection: Connection) -> list[HeldItem]:
    """Return every row that holds or held a pending item, the oldest first."""
    return [
        HeldItem(
            workspace=row["workspace"],
            pending_item_id=row["pending_item_id"],
            state=ItemState(row["state"]),
            release_package_id=row["release_package_id"],
        )
        for row in await connection.fetch(LIST_HELD_ITEMS)
    ]
