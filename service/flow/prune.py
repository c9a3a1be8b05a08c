"""Deletes what ended before the retention, so that the tables stop growing.

Takes: nothing but Postgres.
Leaves: no request that ended before the retention, except in a period that is younger in part, with no item, event,
attempt or batch of it; what lives stays, however old. And a period for the requests of the next week.
If it dies here: the next worker's round does the same.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog

from service.core.errors import DatabaseUnavailable
from service.core.ids import first_id_at
from service.core.request_periods import RequestPeriod, next_period, ranges_beside
from service.core.telemetry import LogEvent
from service.deps import WorkerDeps
from service.gateways.store import pruning, request_periods
from service.gateways.store.database import Connection, Database
from service.gateways.store.pruning import EndedRequests, Pruned
from service.gateways.store.request_periods import Drop

_LONGEST_PAUSE = timedelta(minutes=1)
_SHORTEST_PAUSE = timedelta(seconds=1)
#: So often within a retention it is looked what has come to its end.
_ROUNDS_IN_A_RETENTION = 10
#: Few at a time: nothing else waits for long, and a standby keeps up.
_LOOK_AT = 200
_FIRST_ID = UUID(int=0)
#: After each step it rests for so many times as long as that took.
_REST = 4

log = structlog.get_logger()
#: Does something to the next rows behind an id.
Step = Callable[[Connection, UUID], Awaitable[Pruned]]


async def run_prunes(deps: WorkerDeps) -> None:
    """Make periods and prune, round after round until cancelled; without a retention nothing is pruned."""
    kept_for = deps.settings.retention
    while True:
        await asyncio.sleep(_pause(kept_for).total_seconds())
        try:
            await prepare_period(deps.database, kept_for)
            if kept_for:
                await prune_once(deps.database, kept_for)
        except DatabaseUnavailable as error:
            log.warning(LogEvent.PRUNE_FAILED, reason=str(error))
        except Exception:
            log.exception(LogEvent.PRUNE_FAILED)


def _pause(kept_for: timedelta) -> timedelta:
    if not kept_for:
        return _LONGEST_PAUSE
    return min(max(kept_for / _ROUNDS_IN_A_RETENTION, _SHORTEST_PAUSE), _LONGEST_PAUSE)


async def prepare_period(database: Database, kept_for: timedelta) -> None:
    """Make the partitions of the next period, where the last one comes to its end.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; the next round does it.
    """

    async def prepare(connection: Connection) -> None:
        if not await pruning.try_lock(connection):
            return
        there = await request_periods.list_periods(connection)
        behind = there.periods[-1].to_id if there.periods else None
        period = next_period(behind, now=there.now, kept_for=kept_for)
        if period is not None and not await request_periods.add_period(connection, period):
            log.warning(LogEvent.PERIOD_POSTPONED, period=period.name)

    await database.transact(prepare)


async def prune_once(database: Database, kept_for: timedelta) -> int:
    """Delete what has ended before the retention; return how many requests that were.

    What lies in a period that goes as a whole waits until all of that is older.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; the next round goes on.
    """
    there = await database.read(request_periods.list_periods)
    horizon = first_id_at(there.now - kept_for)
    over = [period for period in there.periods if period.to_id <= horizon]
    waiting = [period for period in there.periods if period.to_id > horizon and period.goes_whole(kept_for)]
    pruned = 0
    for period in over:
        pruned += await _prune_period(database, period, kept_for)
    for behind, before in ranges_beside([*over, *waiting], up_to=horizon):
        pruned += await _delete_requests(database, behind, before, kept_for)
    oldest = min([horizon, *(period.from_id for period in waiting)])
    if await _delete_batches(database, oldest, kept_for) or pruned:
        log.info(LogEvent.REQUESTS_PRUNED, requests=pruned)
    await database.transact(partial(pruning.prune_the_rest, kept_for=kept_for))
    return pruned


async def _prune_period(database: Database, period: RequestPeriod, kept_for: timedelta) -> int:
    """Drop a period, or delete what is in it of which nothing is needed, where something else is."""
    looked_at, is_through = 0, False

    async def release(connection: Connection, behind: UUID) -> Pruned:
        nonlocal looked_at, is_through
        ended = await _lock_ended(connection, behind, period.to_id, kept_for)
        looked_at += ended.looked_at
        is_through = ended.last_id is None
        count = await request_periods.release_held(connection, ended.request_ids, period, kept_for=kept_for)
        return Pruned(count=count, last_id=ended.last_id)

    retries = await database.transact(partial(request_periods.count_retries, period=period))
    released = await _go_through(database, release, behind=period.from_id)
    if retries is None or not is_through:
        return 0
    drop = partial(request_periods.drop_period, period=period, retries=retries)
    match await database.transact(drop) if released == looked_at else Drop.NEEDED:
        case Drop.DONE:
            log.info(LogEvent.PERIOD_DROPPED, period=period.name, requests=released)
            return released
        case Drop.NEEDED:
            return await _delete_requests(database, period.from_id, period.to_id, kept_for)
        case Drop.BUSY:
            return 0


async def _delete_requests(database: Database, behind: UUID, before: UUID, kept_for: timedelta) -> int:
    async def delete(connection: Connection, behind: UUID) -> Pruned:
        ended = await _lock_ended(connection, behind, before, kept_for)
        count = await pruning.prune_requests(connection, ended.request_ids, kept_for=kept_for)
        return Pruned(count=count, last_id=ended.last_id)

    return await _go_through(database, delete, behind=behind)


async def _lock_ended(
    connection: Connection, behind: UUID, before: UUID, kept_for: timedelta
) -> EndedRequests:
    ended = await pruning.find_ended(
        connection, behind=behind, before=before, kept_for=kept_for, look_at=_LOOK_AT
    )
    await pruning.lock_items(connection, ended.request_ids)
    return ended


async def _delete_batches(database: Database, before: UUID, kept_for: timedelta) -> int:
    async def delete(connection: Connection, behind: UUID) -> Pruned:
        return await pruning.prune_batches(
            connection, behind=behind, before=before, kept_for=kept_for, look_at=_LOOK_AT
        )

    return await _go_through(database, delete, behind=_FIRST_ID)


async def _go_through(database: Database, step: Step, *, behind: UUID) -> int:
    """Take step after step to the end, with a rest after each; stop where somebody else goes already."""
    count = 0
    while True:
        started = time.monotonic()
        done = await database.transact(partial(_take, step=step, behind=behind))
        count += done.count
        if done.last_id is None:
            return count
        behind = done.last_id
        await asyncio.sleep(_REST * (time.monotonic() - started))


async def _take(connection: Connection, *, step: Step, behind: UUID) -> Pruned:
    if not await pruning.try_lock(connection):
        return Pruned(count=0, last_id=None)
    return await step(connection, behind)
