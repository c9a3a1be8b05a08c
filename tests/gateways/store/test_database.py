"""How long a connection may be used."""

import time
from datetime import timedelta

import pytest

from service.core.errors import DatabaseUnavailable
from service.gateways.store.database import Connection, Database, PoolSize


async def sleep_for(connection: Connection, seconds: float) -> bool:
    """Have PostgreSQL take its time, beyond the timeouts of statements."""
    await connection.execute("SET LOCAL statement_timeout = 0")
    return await connection.fetchval("SELECT pg_sleep($1) IS NOT NULL", seconds, timeout=60) is not None


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
