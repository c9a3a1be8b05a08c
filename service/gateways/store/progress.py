"""Carries what happened to items over to the rows attached to them and to their requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString, Self
from uuid import UUID

from asyncpg import Record

from service.core.model import Batch
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """How far a statement that wrote a batch has carried its requests on itself."""

    #: The requests that are in the batch as a whole; nobody else can have been writing them.
    request_ids: tuple[UUID, ...]
    #: Whether there are others, which ``follow_batches`` has to carry on.
    has_others: bool

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Read the columns of such a statement."""
        return cls(request_ids=tuple(row["request_ids"]), has_others=row["has_others"])


NOBODY_CARRIED = Carried(request_ids=(), has_others=True)

# Attached rows take over the state of the row that holds their item.
FOLLOW_HOLDERS: LiteralString = """
UPDATE release_items AS a SET state = h.state, batch_id = h.batch_id, error = h.error
FROM release_items AS h
WHERE
    a.holder_id = h.id AND h.batch_id = ANY($1::uuid[])
    AND a.holder_id = ANY(ARRAY(SELECT i.id FROM release_items AS i WHERE i.batch_id = ANY($1::uuid[])))
    AND a.state IN ('waiting', 'batched', 'releasing', 'in_doubt', 'needs_attention')
"""

# Requests are locked in the order of their ids before their items are counted, so that of two batches of one request
# the later sees what the earlier wrote. Some may have been carried on already.
LOCK_REQUESTS: LiteralString = """
SELECT id FROM release_requests
WHERE id IN (
    SELECT request_id FROM release_items WHERE batch_id = ANY($1::uuid[]) AND request_id <> ALL($2::uuid[])
)
ORDER BY id
FOR NO KEY UPDATE
"""

# The state of a request, from those of its items ``i``: the one place that says so.
_DERIVED_STATE: LiteralString = """
CASE
    WHEN bool_or(i.state = 'needs_attention') THEN 'needs_attention'
    WHEN bool_or(i.state = 'in_doubt') THEN 'in_doubt'
    WHEN bool_or(i.state = 'releasing') THEN 'releasing'
    WHEN bool_or(i.state = 'batched') THEN 'batched'
    WHEN bool_and(i.state = 'waiting') THEN 'accepted'
    WHEN bool_or(i.state = 'waiting') THEN 'releasing'
    WHEN bool_and(i.state = 'released') THEN 'released'
    WHEN bool_or(i.state = 'released') THEN 'partly_released'
    WHEN bool_or(i.state = 'failed') THEN 'failed'
    WHEN bool_or(i.state = 'rejected') THEN 'rejected'
    WHEN bool_or(i.state = 'expired') THEN 'expired'
    ELSE 'cancelled'
END
"""


def derived_state() -> LiteralString:
    """Return the expression that derives the state of a request from its items ``i``."""
    return _DERIVED_STATE


# What the items of a request come to, written on the request with one event a change. Of a request that came to share
# items it tells the calls that were made for them before.
PROGRESS_REQUESTS: LiteralString = (
    """
WITH derived AS (
    SELECT
        i.request_id, """
    + _DERIVED_STATE
    + """::request_state AS state,
        (array_agg(i.error ORDER BY i.position) FILTER (WHERE i.error IS NOT NULL))[1] AS error
    FROM release_items AS i
    WHERE i.request_id = ANY($1::uuid[])
    GROUP BY i.request_id
), changed AS (
    UPDATE release_requests AS r SET
        state = d.state, error = d.error, version = r.version + 1, updated_at = clock_timestamp(),
        finished_at = CASE
            WHEN d.state IN ('released', 'partly_released', 'rejected', 'failed', 'cancelled', 'expired')
                THEN clock_timestamp()
        END
    FROM derived AS d
    WHERE r.id = d.request_id AND r.finished_at IS NULL
    AND r.id = ANY($1::uuid[]) -- or all of the table is read where its statistics are old
    RETURNING r.id, r.version, r.state
)
INSERT INTO request_events (request_id, seq, at, type, state, batch_id, attempt, detail)
SELECT
    c.id, c.version, clock_timestamp(), 'request.' || c.state, c.state, $2::uuid, $3::integer,
    $4::jsonb || CASE WHEN $4::jsonb ? 'attached' THEN calls_for_items(c.id) ELSE '{}' END
FROM changed AS c
RETURNING request_id
"""
)


async def follow_batches(
    connection: Connection,
    batch_ids: Sequence[UUID],
    *,
    attempt: int | None,
    detail: dict[str, object],
    apart_from: Sequence[UUID] = (),
) -> list[UUID]:
    """Carry the state of the batches' items over to attached items and to all their requests.

    Returns the ids of the requests that changed, without those that are left out. A single batch is named on the
    events.
    """
    await connection.execute(FOLLOW_HOLDERS, batch_ids)
    request_ids = [row["id"] for row in await connection.fetch(LOCK_REQUESTS, batch_ids, apart_from)]
    named = batch_ids[0] if len(batch_ids) == 1 else None
    rows = await connection.fetch(PROGRESS_REQUESTS, request_ids, named, attempt, detail)
    return [row["request_id"] for row in rows]


async def follow_rest(
    connection: Connection, batch: Batch, carried: Carried, *, detail: dict[str, object]
) -> list[UUID]:
    """Carry the requests on that the statement which wrote the batch left; return all that changed."""
    if not carried.has_others:
        return list(carried.request_ids)
    others = await follow_batches(
        connection,
        [batch.batch_id],
        attempt=batch.attempt_number,
        detail=detail,
        apart_from=carried.request_ids,
    )
    return [*carried.request_ids, *others]


async def follow_requests(
    connection: Connection, request_ids: Sequence[UUID], *, detail: dict[str, object]
) -> list[UUID]:
    """Carry the state of items over to the given requests, which this transaction has locked or made."""
    rows = await connection.fetch(PROGRESS_REQUESTS, request_ids, None, None, detail)
    return [row["request_id"] for row in rows]
