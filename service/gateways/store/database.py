"""The pool of connections to PostgreSQL, and the one place where asyncpg's exceptions become ours."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias, TypeVar

import asyncpg
import orjson
import structlog
from asyncpg.pool import PoolConnectionProxy

from service import __version__
from service.core.errors import DatabaseUnavailable
from service.core.telemetry import LogEvent
from service.gateways.store.liveness import Liveness, PooledConnection

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]"
T = TypeVar("T")

#: How often a transaction is tried when it collides with another (deadlock, serialization).
_COLLISION_TRIES = 4
#: How often a read is tried whose connection is cut: the next one may have been cut with it.
_READ_TRIES = 3
#: A server that takes longer to fail is away, not a connection.
_READ_AGAIN_WITHIN_SECONDS = 1.0
_ACQUIRE_TIMEOUT_SECONDS = 5.0
#: PostgreSQL ends a statement after this long, and says so.
_STATEMENT_TIMEOUT_SECONDS = 15.0
#: An answer that is later than that will not come: the connection is dead, and so may be the others.
_COMMAND_TIMEOUT_SECONDS = 17.0
#: Bounds what asyncpg does about a dead connection: each BEGIN, COMMIT and ROLLBACK may wait for a timeout of its own.
_LONGEST_USE = timedelta(seconds=20)
#: Connections that reads leave to others: many who look must not keep requests from being accepted.
_NOT_FOR_READS = 3
#: A caller waits for a read, and such a read is small.
_LONGEST_READ = timedelta(seconds=5)

#: Every statement but those of the audit reaches its few rows by indexes. PostgreSQL would see that only while its
#: statistics are new: a plan that it makes when a table is small is kept while the table grows. So one plan, made once,
#: does for all values; where it depends on what is asked for, the statement says so.
PLANNING = {
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "random_page_cost": "1.1",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

_COLLISIONS = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.UniqueViolationError,  # whoever was faster is seen by the next try
)
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,  # what PostgreSQL has no word for, such as a file that may not grow
    asyncpg.LockNotAvailableError,
    OSError,
    TimeoutError,
)


log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSize:
    """The fewest and the most connections of one process."""

    smallest: int
    largest: int


class Database:
    """A pool of connections; every use of it either works or raises ``DatabaseUnavailable``."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", dsn: str) -> None:
        self._pool = pool
        self._readers = asyncio.Semaphore(max(1, pool.get_max_size() - _NOT_FOR_READS))
        self._liveness = Liveness(dsn, self._give_up)
        #: By the event loop's clock: when PostgreSQL was of use last, and since when it is not.
        self._used_at = 0.0
        self._lost_at: float | None = None

    @classmethod
    async def open(cls, dsn: str, size: PoolSize) -> "Database":
        """Open the pool.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        with _translated():
            pool = await asyncpg.create_pool(
                dsn,
                min_size=size.smallest,
                max_size=size.largest,
                init=_prepare_connection,
                reset=_keep_session,
                connection_class=PooledConnection,
                timeout=_ACQUIRE_TIMEOUT_SECONDS,
                command_timeout=_COMMAND_TIMEOUT_SECONDS,
                server_settings={
                    "application_name": f"batch-release {__version__}",
                    "statement_timeout": f"{int(_STATEMENT_TIMEOUT_SECONDS * 1000)}",
                    "idle_in_transaction_session_timeout": "60000",
                    **PLANNING,
                },
            )
        return cls(pool, dsn)

    @property
    def connections(self) -> tuple[int, int, int]:
        """How many connections are in use and idle, and how many there may be."""
        idle = self._pool.get_idle_size()
        return self._pool.get_size() - idle, idle, self._pool.get_max_size()

    async def close(self, *, within: timedelta = timedelta(seconds=1)) -> None:
        """Close every connection; those still busy after the given time are cut."""
        try:
            await asyncio.wait_for(self._pool.close(), within.total_seconds())
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self, *, longest: timedelta = _LONGEST_USE) -> AsyncIterator[Connection]:
        """Lend a connection outside any transaction, for this long at most: then it is cut.

        It is for statements alone: waiting for anything else would look like a dead connection.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer, or no connection came free in time.
        """
        with self._noting_loss(), _translated():
            async with self._pool.acquire(timeout=_ACQUIRE_TIMEOUT_SECONDS) as connection:
                cut = asyncio.get_running_loop().call_later(longest.total_seconds(), connection.terminate)
                try:
                    with self._liveness.watching(connection):
                        yield connection
                except TimeoutError:
                    await self._give_up(connection)
                    raise
                finally:
                    cut.cancel()

    @contextmanager
    def _noting_loss(self) -> Iterator[None]:
        """Log that PostgreSQL went away: once, until a use that began later works."""
        clock = asyncio.get_running_loop().time
        began_at = clock()
        try:
            yield
        except DatabaseUnavailable as error:
            if self._lost_at is None and began_at >= self._used_at:
                log.warning(LogEvent.DATABASE_LOST, reason=str(error))
                self._lost_at = clock()
            raise
        if self._lost_at is None or began_at > self._lost_at:
            self._used_at, self._lost_at = clock(), None

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction, again where it collided with another transaction.

        Raises:
            DatabaseUnavailable: PostgreSQL went away; whether the commit happened is then unknown.
        """
        for _ in range(_COLLISION_TRIES - 1):
            try:
                return await self._transact_once(work)
            except _COLLISIONS:
                continue
        try:
            return await self._transact_once(work)
        except _COLLISIONS as error:
            raise DatabaseUnavailable(f"too many transactions collide: {error}") from error

    async def read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run ``work``, which only reads a little; again where its connection was cut under it.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        give_up_at = time.monotonic() + _READ_AGAIN_WITHIN_SECONDS
        for _ in range(_READ_TRIES - 1):
            try:
                return await self._read_once(work)
            except DatabaseUnavailable:
                if time.monotonic() >= give_up_at:
                    raise
        return await self._read_once(work)

    async def read_one_moment(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run ``work`` as ``read`` does, in a transaction that sees one moment.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """

        async def at_one_moment(connection: Connection) -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await work(connection)

        return await self.read(at_one_moment)

    async def _read_once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._turn_to_read(), self.connection(longest=_LONGEST_READ) as connection:
            return await work(connection)

    @asynccontextmanager
    async def _turn_to_read(self) -> AsyncIterator[None]:
        with _translated():
            async with asyncio.timeout(_ACQUIRE_TIMEOUT_SECONDS):
                await self._readers.acquire()
        try:
            yield
        finally:
            self._readers.release()

    async def read_snapshot(self, work: Callable[[Connection], Awaitable[T]], *, longest: timedelta) -> T:
        """Run ``work`` in a transaction that writes nothing and sees one moment, for this long at most.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        async with (
            self.connection(longest=longest) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await work(connection)

    async def _transact_once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self.connection() as connection, connection.transaction():
            try:
                return await work(connection)
            except TimeoutError:
                await self._give_up(connection)  # or ROLLBACK would wait as long again
                raise

    async def _give_up(self, connection: Connection) -> None:
        """Cut a dead connection, and let the others be opened anew: they may have died of the same."""
        connection.terminate()
        await self._pool.expire_connections()


class _translated:  # noqa: N801 - reads as a keyword where it is used
    """Turns asyncpg's words for "PostgreSQL is away" into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _AWAY) and not isinstance(error, _COLLISIONS):
            reason = str(error) or type(error).__name__
            raise DatabaseUnavailable(f"PostgreSQL does not answer: {reason}") from error


async def _prepare_connection(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_json, decoder=orjson.loads, format="text"
    )


def _encode_json(value: object) -> str:
    return orjson.dumps(value).decode()


async def _keep_session(_connection: object) -> None:
    """Leave a returned connection as it is: nothing of ours sets session state, and a reset costs a round trip."""
