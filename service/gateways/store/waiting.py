"""Counts the items that wait, and lets one process at a time do so where the last places are given away."""

from collections.abc import Collection, Iterable
from typing import LiteralString

from asyncpg import Record

from service.core.caps import Waiting
from service.core.place import Place
from service.gateways.store.database import Connection

# All workspaces with waiting items, from the index alone.
COUNT_WAITING: LiteralString = """
SELECT project_id, workspace, count(*) AS waiting
FROM release_items
WHERE batch_id IS NULL AND NOT is_free
GROUP BY project_id, workspace
"""


async def count_waiting(connection: Connection) -> Waiting:
    """Count the items that wait, of every workspace."""
    rows = await connection.fetch(COUNT_WAITING)
    by_place = _by_place(rows)
    return Waiting(total=sum(by_place.values()), by_place=by_place)


# Some workspaces only, counted no further than to the cap.
COUNT_WAITING_AT: LiteralString = """
SELECT g.project_id, g.workspace, (
    SELECT count(*) FROM (
        SELECT 1 FROM release_items AS i
        WHERE
            i.batch_id IS NULL AND NOT i.is_free AND i.project_id = g.project_id AND i.workspace = g.workspace
        LIMIT $3::bigint
    ) AS w
) AS waiting
FROM unnest($1::text[], $2::text[]) AS g (project_id, workspace)
"""
COUNT_ALL_WAITING: LiteralString = """
SELECT count(*) FROM (SELECT 1 FROM release_items WHERE batch_id IS NULL AND NOT is_free LIMIT $1::bigint) AS w
"""


async def count_waiting_at(
    connection: Connection, places: Collection[Place], *, up_to: int
) -> dict[Place, int]:
    """Count the items that wait in these workspaces."""
    rows = await connection.fetch(
        COUNT_WAITING_AT,
        [place.project_id for place in places],
        [place.workspace for place in places],
        up_to,
    )
    return _by_place(rows)


def _by_place(rows: Iterable[Record]) -> dict[Place, int]:
    return {Place(project_id=row["project_id"], workspace=row["workspace"]): row["waiting"] for row in rows}


async def count_all_waiting(connection: Connection, *, up_to: int) -> int:
    """Count the items that wait, of every workspace together."""
    counted: int = await connection.fetchval(COUNT_ALL_WAITING, up_to)
    return counted


# Held until the end of the transaction: what is counted behind it is still so when it commits.
LOCK_LAST_PLACES: LiteralString = "SELECT pg_advisory_xact_lock(7238461058316401)"


async def lock_last_places(connection: Connection) -> None:
    """Wait until no other transaction gives last places away."""
    await connection.execute(LOCK_LAST_PLACES)
