"""Gathers for a scrape what is not of this process alone: the state of PostgreSQL and Redis, and what is counted there.

Takes: nothing but PostgreSQL and Redis.
Leaves: figures that are a moment old, and what is away.
If it dies here: nothing was changed.

A scrape never waits for long: what is not counted in time is shown as it was counted last, with its age.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

import structlog

from service.core.auditing import Patience
from service.core.errors import Unavailable
from service.core.gauges import Backlog, Counted, Whole
from service.core.telemetry import LogEvent
from service.deps import Deps
from service.gateways.backlog import read_backlog
from service.gateways.store.database import Connection, Database
from service.gateways.store.gauges import count_requests, read_gauges

T = TypeVar("T")

#: Workspaces that are named, by what waits and by its age each; the rest are put together.
MOST_PLACES = 20
#: What a count took last tells how soon it may be made again: this is the share of its time that a process counts.
_SHARE = 0.02
_KEPT_SECONDS = 0.2
#: The latest, however long a count took; and after one that failed.
_AGAIN_WITHIN_SECONDS = 300.0
_AGAIN_AFTER_FAILURE_SECONDS = 1.0
_LONGEST_COUNT = timedelta(seconds=30)
_WITHIN_SECONDS = 1.0

log = structlog.get_logger()


class Count(Generic[T]):
    """A count that is made again when it is asked for and old; callers of the same moment share one."""

    def __init__(self, database: Database, work: Callable[[Connection], Awaitable[T]]) -> None:
        self._database = database
        self._work = work
        self._last: T | None = None
        self._began_at = 0.0
        self._took = 0.0
        self._next_at = 0.0
        self._counting: asyncio.Task[None] | None = None

    async def get(self, *, within: float) -> Counted[T] | None:
        """Return what was counted last, after a new count where it is old and the count ends in time."""
        if self._counting is None and time.monotonic() >= self._next_at:
            self._counting = asyncio.create_task(self._count_again())
        if self._counting is not None:
            await asyncio.wait({self._counting}, timeout=within)
        if self._last is None:
            return None
        return Counted(value=self._last, age_seconds=time.monotonic() - self._began_at)

    async def _count_again(self) -> None:
        pause = _AGAIN_AFTER_FAILURE_SECONDS
        try:
            self._last = await self._database.read_snapshot(self._count, longest=_LONGEST_COUNT)
            pause = min(max(_KEPT_SECONDS, self._took / _SHARE), _AGAIN_WITHIN_SECONDS)
        except Unavailable as error:
            self._last = None
            log.debug(LogEvent.FIGURES_LOST, reason=str(error))
        except Exception:
            self._last = None
            log.exception(LogEvent.FIGURES_LOST)
        self._next_at, self._counting = time.monotonic() + pause, None

    async def _count(self, connection: Connection) -> T:
        self._began_at = time.monotonic()
        counted = await self._work(connection)
        self._took = time.monotonic() - self._began_at
        return counted


class Figures:
    """What one process knows of the whole."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._gauges = Count(deps.health_database, partial(read_gauges, most_places=MOST_PLACES))
        self._requests = Count(deps.health_database, count_requests)

    async def read(self, *, is_database_up: bool) -> Whole:
        """Gather the figures; of a database that is away there are none."""
        settings = self._deps.settings
        gauges, requests, backlog = await asyncio.gather(
            self._gauges.get(within=_WITHIN_SECONDS),
            self._requests.get(within=_WITHIN_SECONDS),
            self._backlog(),
        )
        return Whole(
            is_database_up=is_database_up,
            gauges=gauges if is_database_up else None,
            requests=requests if is_database_up else None,
            backlog=backlog,
            doubt_budget=Patience.of(settings).doubt,
            rate_limit=settings.vendor_rate,
            concurrency_limit=settings.vendor_concurrency,
        )

    async def _backlog(self) -> Backlog | None:
        try:
            async with asyncio.timeout(_WITHIN_SECONDS):
                return await read_backlog(self._deps.redis, queue=self._deps.settings.queue)
        except (Unavailable, TimeoutError):
            return None
