"""Makes and drops the partitions of requests, of which each has those of a period with all that is theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import LiteralString
from uuid import UUID

import asyncpg

from service.core.request_periods import RequestPeriod
from service.gateways.store.database import Connection

#: So long a change of partitions asks for each lock, while others wait behind it.
_LOCK_TIMEOUT = "25ms"
#: So long it may have them. Who makes partitions reads what lies in no period: that it is in none of these ids.
_TIMEOUT_OF_MAKING, _TIMEOUT_OF_DROPPING = "2s", "500ms"

LIST_PERIODS: LiteralString = """
SELECT n.now, p.name, p.from_id, p.to_id
FROM (SELECT now() AS now) AS n
LEFT JOIN request_periods AS p ON TRUE
ORDER BY p.from_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPeriods:
    """All periods in order, at one moment by the clock of Postgres."""

    now: datetime
    periods: tuple[RequestPeriod, ...]


async def list_periods(connection: Connection) -> RequestPeriods:
    """Return all periods, and what time it is."""
    rows = await connection.fetch(LIST_PERIODS)
    return RequestPeriods(
        now=rows[0]["now"],
        periods=tuple(
            RequestPeriod(name=row["name"], from_id=row["from_id"], to_id=row["to_id"])
            for row in rows
            if row["name"] is not None
        ),
    )


LIMIT_WAITS: LiteralString = """
SELECT set_config('lock_timeout', $1, TRUE), set_config('statement_timeout', $2, TRUE)
"""
_TOOK_TOO_LONG = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
ADD_PERIOD: LiteralString = "SELECT add_request_period($1, $2, $3)"


async def add_period(connection: Connection, period: RequestPeriod) -> bool:
    """Make the partitions of a period in a transaction of the caller's; False where that cannot be now.

    Others use the tables then, or rows that lie in no period have such ids, or are too many to be looked through.
    """
    try:
        async with connection.transaction():
            await connection.execute(LIMIT_WAITS, _LOCK_TIMEOUT, _TIMEOUT_OF_MAKING)
            await connection.execute(ADD_PERIOD, period.name, period.from_id, period.to_id)
    except (*_TOOK_TOO_LONG, asyncpg.CheckViolationError):
        return False
    return True


COUNT_RETRIES: LiteralString = (
    "UPDATE request_periods SET counts_retries = TRUE WHERE name = $1 RETURNING retries"
)


async def count_retries(connection: Connection, period: RequestPeriod) -> int | None:
    """Have retries of requests in a period be counted from now on; return how many there were, None where it is gone.

    Who has looked at a request before it was retried must not drop its period.
    """
    retries: int | None = await connection.fetchval(COUNT_RETRIES, period.name)
    return retries


class Drop(StrEnum):
    """What became of the wish to drop a period."""

    DONE = "done"
    #: Something in it lives, or holds an item.
    NEEDED = "needed"
    #: Others use the tables at this moment, or have retried a request in it meanwhile.
    BUSY = "busy"


DROP_PERIOD: LiteralString = "SELECT drop_request_period($1, $2)"


async def drop_period(connection: Connection, period: RequestPeriod, *, retries: int) -> Drop:
    """Drop the partitions of a period in a transaction of the caller's, unless others would have to wait for it."""
    try:
        async with connection.transaction():
            await connection.execute(LIMIT_WAITS, _LOCK_TIMEOUT, _TIMEOUT_OF_DROPPING)
            return Drop(await connection.fetchval(DROP_PERIOD, period.name, retries))
    except _TOOK_TOO_LONG:
        return Drop.BUSY


# What requests of a period hold that have ended, also by now, and whose items nobody shares who is kept.
RELEASE_HELD: LiteralString = """
WITH ended AS (
    SELECT r.id, r.idempotency_key, r.caller FROM release_requests AS r
    WHERE
        r.id = ANY($1::uuid[]) AND r.finished_at < now() - $2::interval
        AND NOT EXISTS (
            SELECT FROM release_items AS i
            JOIN release_items AS a ON a.holder_id = i.id
            JOIN release_requests AS q ON q.id = a.request_id
            WHERE
                i.request_id = r.id
                AND (q.id < $3 OR q.id >= $4 OR coalesce(q.finished_at >= now() - $2::interval, TRUE))
        )
), keys AS (
    DELETE FROM idempotency_keys AS k
    USING ended AS e
    WHERE k.idempotency_key = e.idempotency_key AND k.caller = e.caller AND k.request_id = e.id
), targets AS (
    DELETE FROM operation_targets AS t WHERE t.request_id = ANY(ARRAY(SELECT e.id FROM ended AS e))
), holders AS (
    DELETE FROM item_holders AS h WHERE h.request_id = ANY(ARRAY(SELECT e.id FROM ended AS e))
)
SELECT count(*) FROM ended
"""


async def release_held(
    connection: Connection, request_ids: Sequence[UUID], period: RequestPeriod, *, kept_for: timedelta
) -> int:
    """Give the idempotency keys and pending items of ended requests free; return how many requests these are.

    Their items must be locked: then nobody is about to attach to one, or to retry a request.
    """
    count: int = await connection.fetchval(RELEASE_HELD, request_ids, kept_for, period.from_id, period.to_id)
    return count
