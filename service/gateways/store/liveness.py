"""Connections that have died without a word: PostgreSQL waits for us while we wait for it.

Takes: a use of a connection that lasts. It may wait for a slow statement, for a lock, or for nothing.
Leaves: the first two alone, since PostgreSQL says so over a fresh connection; a silent connection is given up.
If nobody answers: asks again until the use ends, whose own bounds hold anyway.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from service.core.telemetry import LogEvent

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection  # takes its parameter in the stubs only

#: Uses are short: one that lasts longer is looked after.
_LASTS_SECONDS = 2.0
_ASK_EVERY_SECONDS = 1.0
_ANSWER_WITHIN_SECONDS = 1.5
#: In this time a PostgreSQL that was frozen reads what has come meanwhile.
_WAKING_SECONDS = 0.2
_NO_ANSWER = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

log = structlog.get_logger()


class PooledConnection(_Connection):
    """A connection whose end is no error: the pool closes old ones in tasks that nobody awaits."""

    __slots__ = ()

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the pool gives it
        """Close; where PostgreSQL does not answer, cut."""
        with suppress(TimeoutError):
            await super().close(timeout=timeout or _ANSWER_WITHIN_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Use:
    connection: "PoolConnectionProxy[asyncpg.Record]"
    pid: int


class Liveness:
    """Looks after the uses of a pool that last: one task asks for all of them, and ends with the last of them."""

    def __init__(
        self, dsn: str, give_up: Callable[["PoolConnectionProxy[asyncpg.Record]"], Awaitable[None]]
    ) -> None:
        self._dsn = dsn
        self._give_up = give_up
        self._lasting: set[_Use] = set()
        self._asking: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, connection: "PoolConnectionProxy[asyncpg.Record]") -> Iterator[None]:
        """Look after one use; it must be a row of statements, and wait for nothing else."""
        use = _Use(connection=connection, pid=connection.get_server_pid())
        timer = asyncio.get_running_loop().call_later(_LASTS_SECONDS, self._begin, use)
        try:
            yield
        finally:
            timer.cancel()
            self._end(use)

    def _begin(self, use: _Use) -> None:
        self._lasting.add(use)
        if self._asking is None:
            # In no context, since it asks for others as well.
            self._asking = asyncio.create_task(self._ask_on(), context=Context())

    def _end(self, use: _Use) -> None:
        self._lasting.discard(use)
        if not self._lasting and self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _ask_on(self) -> None:
        while True:
            await asyncio.gather(self._ask(), asyncio.sleep(_ASK_EVERY_SECONDS))

    async def _ask(self) -> None:
        asked = tuple(self._lasting)
        try:
            silent = await _find_silent(self._dsn, {use.pid for use in asked})
            for use in asked:
                if use.pid in silent and use in self._lasting:
                    await self._end_silent(use)
        except _NO_ANSWER:
            return  # the use itself says what is wrong
        except Exception:
            log.exception(LogEvent.CONNECTION_UNCHECKED)

    async def _end_silent(self, use: _Use) -> None:
        self._lasting.discard(use)
        log.warning(LogEvent.CONNECTION_DROPPED, pid=use.pid)
        await self._give_up(use.connection)


async def _find_silent(dsn: str, pids: Collection[int]) -> Collection[int]:
    async with asyncio.timeout(_ANSWER_WITHIN_SECONDS):
        connection = await asyncpg.connect(dsn)
        try:
            silent = await find_silent(connection, pids)
            if silent:
                await asyncio.sleep(_WAKING_SECONDS)
                silent = await find_silent(connection, silent)
        finally:
            connection.terminate()
    return silent


# Waits for us: also in a transaction, and between the parts of one statement, where its state is active. The last
# line: behind a pooler the ids that a client is told are not PostgreSQL's, so there nothing is known.
FIND_SILENT: LiteralString = """
SELECT asked.pid
FROM unnest($1::int[]) AS asked (pid)
LEFT JOIN pg_stat_activity AS a ON a.pid = asked.pid
WHERE (a.pid IS NULL OR (a.wait_event = 'ClientRead' AND a.state_change < clock_timestamp() - interval '1.5 s'))
AND pg_backend_pid() = $2
"""


async def find_silent(
    connection: "asyncpg.Connection[asyncpg.Record]", pids: Collection[int]
) -> Collection[int]:
    """Return which of these backends are gone, or have waited for their client for a while."""
    rows = await connection.fetch(FIND_SILENT, list(pids), connection.get_server_pid())
    return {row["pid"] for row in rows}
