"""How long a connection may be used, and how soon one that is dead is noticed."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from service.core.errors import DatabaseUnavailable
from service.gateways.store.database import Connection, Database, PoolSize
from tests.support.proxy import Mode, PostgresProxy
from tests.support.waiting import eventually

IS_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def sleep_for(connection: Connection, seconds: float) -> bool:
    """Have PostgreSQL take its time, beyond the timeouts of statements."""
    await connection.execute("SET LOCAL statement_timeout = 0")
    return await connection.fetchval("SELECT pg_sleep($1) IS NOT NULL", seconds, timeout=60) is not None


async def get_answer(connection: Connection) -> bool:
    return await sleep_for(connection, 0.0)


async def lock_table(connection: Connection) -> None:
    await connection.execute("LOCK TABLE release_requests IN ACCESS SHARE MODE")


def kill_connections(proxy: PostgresProxy) -> None:
    """Swallow for good whatever comes on the connections of this moment; new ones work."""
    proxy.swallow()
    proxy.mode = Mode.PASS


@pytest.fixture
async def proxied(proxy: PostgresProxy) -> AsyncIterator[Database]:
    """Two connections through the proxy."""
    database = await Database.open(proxy.url, PoolSize(smallest=2, largest=2))
    yield database
    await database.close()


async def test_a_use_that_lasts_too_long_is_cut(database_url: str) -> None:
    """The next one has another connection."""
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    try:
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await database.read_snapshot(
                lambda connection: sleep_for(connection, 30.0), longest=timedelta(seconds=0.2)
            )
        took = time.monotonic() - began
        works = await database.read_snapshot(
            lambda connection: sleep_for(connection, 0.0), longest=timedelta(seconds=20)
        )
    finally:
        await database.close()

    assert took < 15
    assert works


@pytest.mark.long
async def test_a_snapshot_may_outlast_other_uses(database_url: str) -> None:
    """An audit of very many requests takes longer than the 20 s after which a connection counts as dead."""
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    try:
        slept = await database.read_snapshot(
            lambda connection: sleep_for(connection, 21.0), longest=timedelta(minutes=1)
        )
    finally:
        await database.close()

    assert slept


async def test_a_silent_connection_is_noticed_while_postgres_answers_others(
    proxy: PostgresProxy, proxied: Database
) -> None:
    """A use whose connection is swallowed for good ends within a few seconds, and the next one works at once."""
    kill_connections(proxy)
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await proxied.transact(get_answer)
    noticed_after = time.monotonic() - began
    works = await proxied.transact(get_answer)
    took = time.monotonic() - began

    assert noticed_after < 4.0
    assert works
    assert took < noticed_after + 1.0, "the pool's other connection was as dead"


async def test_a_connection_that_falls_silent_in_a_transaction_is_noticed(
    proxy: PostgresProxy, proxied: Database
) -> None:
    """Between two statements, too, PostgreSQL is seen to wait for what will not come."""

    async def fall_silent(connection: Connection) -> None:
        await get_answer(connection)
        kill_connections(proxy)
        await get_answer(connection)

    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await proxied.transact(fall_silent)

    assert time.monotonic() - began < 4.0


async def test_a_silent_connection_is_noticed_once_postgres_can_be_asked(
    proxy: PostgresProxy, proxied: Database
) -> None:
    """While nobody answers, the question is asked again and again."""
    proxy.swallow()
    using = asyncio.create_task(proxied.transact(get_answer))
    await asyncio.wait([using], timeout=5.0)
    was_noticed = using.done()
    proxy.mode = Mode.PASS
    back_at = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await using

    assert not was_noticed
    assert time.monotonic() - back_at < 3.0


async def test_connections_that_are_opened_anew_end_without_an_error(
    proxy: PostgresProxy, proxied: Database
) -> None:
    """Nobody awaits the end of an idle connection that was swallowed too, so its failure would only be said aloud."""
    await asyncio.gather(proxied.transact(get_answer), proxied.transact(get_answer))
    kill_connections(proxy)
    with pytest.raises(DatabaseUnavailable):
        await proxied.transact(get_answer)
    await asyncio.gather(proxied.transact(get_answer), proxied.transact(get_answer))
    ends = [task for task in asyncio.all_tasks() if "Connection.close" in repr(task)]

    assert await asyncio.gather(*ends, return_exceptions=True) == [None]


async def test_behind_a_pooler_nothing_is_noticed(proxy: PostgresProxy) -> None:
    """A pooler tells other ids than PostgreSQL's, so that no backend has them: that is no sign of death."""
    proxy.renames_backends = True
    database = await Database.open(proxy.url, PoolSize(smallest=1, largest=1))
    try:
        slept = await database.transact(lambda connection: sleep_for(connection, 4.0))
    finally:
        await database.close()

    assert slept


async def test_a_statement_that_takes_its_time_is_left_alone(database_url: str) -> None:
    """PostgreSQL says that it is at work."""
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    try:
        slept = await database.transact(lambda connection: sleep_for(connection, 6.0))
    finally:
        await database.close()

    assert slept


async def test_a_statement_that_waits_for_a_lock_is_left_alone(database_url: str) -> None:
    """PostgreSQL says that it waits for somebody else."""
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    other = await asyncpg.connect(database_url)
    try:
        await other.execute("BEGIN; LOCK TABLE release_requests IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(database.transact(lock_table))
        await eventually(lambda: other.fetchval(IS_WAITING))
        await asyncio.wait([waiting], timeout=6.0)
        has_given_up = waiting.done()
        await other.execute("COMMIT")
        await waiting
    finally:
        await other.close()
        await database.close()

    assert not has_given_up
