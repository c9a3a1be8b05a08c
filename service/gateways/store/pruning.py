"""Deletes what ended before the retention, a little at a time: requests with all that is theirs, then their batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from service.core.ids import first_id_within
from service.gateways.store.database import Connection

#: One process at a time prunes.
_LOCK = 7_203_401

TRY_LOCK: LiteralString = "SELECT pg_try_advisory_xact_lock($1::bigint)"


async def try_lock(connection: Connection) -> bool:
    """Tell whether nobody else prunes, and keep it so until the end of the transaction."""
    return bool(await connection.fetchval(TRY_LOCK, _LOCK))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What one step has deleted, and where the next one begins."""

    count: int
    #: The last row that was looked at; None at the end.
    last_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRequests:
    """Those of some requests, in the order of their ids, that ended long enough ago."""

    request_ids: tuple[UUID, ...]
    #: Of how many these are some.
    looked_at: int
    #: The last one that was looked at; None at the end.
    last_id: UUID | None


# Requests in the order of their ids, which is that of their creation, and which of them ended before the retention.
FIND_ENDED: LiteralString = """
SELECT r.id, coalesce(r.finished_at < now() - $3::interval, FALSE) AS has_ended
FROM release_requests AS r
WHERE r.id > $1 AND r.id < $2
ORDER BY r.id
LIMIT $4
"""


async def find_ended(
    connection: Connection, *, behind: UUID, before: UUID, kept_for: timedelta, look_at: int
) -> EndedRequests:
    """Return those of the next requests that ended longer ago than ``kept_for``."""
    rows = await connection.fetch(FIND_ENDED, behind, before, kept_for, look_at)
    ended = tuple(row["id"] for row in rows if row["has_ended"])
    return EndedRequests(request_ids=ended, looked_at=len(rows), last_id=rows[-1]["id"] if rows else None)


# Whoever attaches an item to one of these rows has done so, or will look again whether it holds.
LOCK_ENDED_ITEMS: LiteralString = """
SELECT i.id FROM release_items AS i WHERE i.request_id = ANY($1::uuid[]) ORDER BY i.id FOR UPDATE
"""


async def lock_items(connection: Connection, request_ids: Sequence[UUID]) -> None:
    """Lock all items of the requests, before it is looked who shares them."""
    await connection.execute(LOCK_ENDED_ITEMS, request_ids)


# Requests that ended long enough ago, and whose items no other request shares any more. What somebody works on is left
# for the next time.
PRUNE_REQUESTS: LiteralString = """
WITH ended AS (
    SELECT r.id
    FROM release_requests AS r
    WHERE
        r.id = ANY($1::uuid[]) AND r.finished_at < now() - $2::interval
        AND NOT EXISTS (
            SELECT FROM release_items AS i
            JOIN release_items AS a ON a.holder_id = i.id AND a.request_id <> i.request_id
            WHERE i.request_id = r.id
        )
    FOR UPDATE SKIP LOCKED
), pruned AS (
    DELETE FROM release_requests WHERE id = ANY(ARRAY(SELECT e.id FROM ended AS e))
    RETURNING id
)
SELECT count(*) FROM pruned
"""


async def prune_requests(connection: Connection, request_ids: Sequence[UUID], *, kept_for: timedelta) -> int:
    """Delete those of the requests that ended longer ago than ``kept_for``, with all that is theirs."""
    count: int = await connection.fetchval(PRUNE_REQUESTS, request_ids, kept_for)
    return count


# Batches in the order of their ids that ended long enough ago, of which no item and no part is left.
PRUNE_BATCHES: LiteralString = """
WITH old AS (
    SELECT b.id, b.finished_at
    FROM batches AS b
    WHERE b.id > $1 AND b.id < $2
    ORDER BY b.id
    LIMIT $4
), ended AS (
    SELECT b.id
    FROM batches AS b
    WHERE
        b.id = ANY(ARRAY(SELECT o.id FROM old AS o WHERE o.finished_at < now() - $3::interval))
        AND NOT EXISTS (SELECT FROM release_items AS i WHERE i.batch_id = b.id)
        AND NOT EXISTS (SELECT FROM batches AS c WHERE c.parent_id = b.id)
    FOR UPDATE SKIP LOCKED
), calls AS (
    DELETE FROM attempts WHERE batch_id = ANY(ARRAY(SELECT e.id FROM ended AS e))
), pruned AS (
    DELETE FROM batches WHERE id = ANY(ARRAY(SELECT e.id FROM ended AS e))
    RETURNING id
)
SELECT (SELECT count(*) FROM pruned) AS count, (SELECT o.id FROM old AS o ORDER BY o.id DESC LIMIT 1) AS last_id
"""


async def prune_batches(
    connection: Connection, *, behind: UUID, before: UUID, kept_for: timedelta, look_at: int
) -> Pruned:
    """Delete those of the next batches that ended longer ago than ``kept_for``, with their attempts."""
    row = await connection.fetchrow(PRUNE_BATCHES, behind, before, kept_for, look_at)
    if row is None:
        raise AssertionError("what selects from nothing is one row")
    return Pruned(count=row["count"], last_id=row["last_id"])


PRUNE_OPERATIONS: LiteralString = """
DELETE FROM operations
WHERE id IN (SELECT o.id FROM operations AS o WHERE o.id < $1 AND o.finished_at < now() - $2::interval LIMIT 10)
"""

PRUNE_GENERATIONS: LiteralString = """
DELETE FROM body_generations AS b
USING (
    SELECT g.caller, g.body_digest FROM body_generations AS g WHERE g.told_at < now() - $1::interval
    LIMIT 1000 FOR UPDATE SKIP LOCKED
) AS old
WHERE b.caller = old.caller AND b.body_digest = old.body_digest
"""


async def prune_the_rest(connection: Connection, *, kept_for: timedelta) -> None:
    """Delete some operations on many requests, and some counts of bodies, that are as old."""
    await connection.execute(PRUNE_OPERATIONS, first_id_within(kept_for), kept_for)
    await connection.execute(PRUNE_GENERATIONS, kept_for)
