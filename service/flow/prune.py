"""Deletes what ended before the retention, so that the tables stop growing.

Takes: nothing but Postgres.
Leaves: no request, item, event, attempt or batch that ended before the retention; what lives stays, however old.
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
from service.core.telemetry import LogEvent
from service.deps import WorkerDeps
from service.gateways.store import pruning
from service.gateways.store.database import Connection, Database
from service.gateways.store.pruning import FIRST_ID, Pruned

_LONGEST_PAUSE = timedelta(minutes=1)
_SHORTEST_PAUSE = timedelta(seconds=1)
#: So often within a retention it is looked what has come to its end.
_ROUNDS_IN_A_RETENTION = 10
#: Few at a time: nothing else waits for long, and a standby keeps up.
_LOOK_AT = 200
#: After each step it rests for so many times as long as that took.
_REST = 4

log = structlog.get_logger()
Step = Callable[[Connection, UUID], Awaitable[Pruned]]


async def run_prunes(deps: WorkerDeps) -> None:
    """Prune round after round until cancelled, in one worker at a time; without a retention never."""
    kept_for = deps.settings.retention
    if not kept_for:
        return
    pause = min(max(kept_for / _ROUNDS_IN_A_RETENTION, _SHORTEST_PAUSE), _LONGEST_PAUSE)
    while True:
        await asyncio.sleep(pause.total_seconds())
        try:
            await prune_once(deps.database, kept_for)
        except DatabaseUnavailable as error:
            log.warning(LogEvent.PRUNE_FAILED, reason=str(error))
        except Exception:
            log.exception(LogEvent.PRUNE_FAILED)


async def prune_once(database: Database, kept_for: timedelta) -> int:
    """Delete all that has ended before the retention; return how many requests that were.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; the next round goes on.
    """

    async def requests(connection: Connection, behind: UUID) -> Pruned:
        return await pruning.prune_requests(connection, behind=behind, kept_for=kept_for, look_at=_LOOK_AT)

    async def batches(connection: Connection, behind: UUID) -> Pruned:
        return await pruning.prune_batches(connection, behind=behind, kept_for=kept_for, look_at=_LOOK_AT)

    async def rest(connection: Connection) -> None:
        await pruning.prune_the_rest(connection, kept_for=kept_for)

    pruned = await _go_through(database, requests)
    if await _go_through(database, batches) or pruned:
        log.info(LogEvent.REQUESTS_PRUNED, requests=pruned)
    await database.transact(rest)
    return pruned


async def _go_through(database: Database, step: Step) -> int:
    """Take step after step to the end, with a rest after each; stop where somebody else goes already."""
    count, behind = 0, FIRST_ID
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
