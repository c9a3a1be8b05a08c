"""What Postgres keeps of breakers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.core.breakers import Breaker, BreakerReason
from service.gateways.store.breakers import keep_breaker, open_breakers
from service.gateways.store.database import Connection

NOW = datetime.now(UTC)
OPEN = Breaker(
    credential="c",
    project_id="p",
    workspace="ws",
    reason=BreakerReason.FAILURES,
    changed_at=NOW,
    openings=2,
    until=NOW + timedelta(seconds=10),
)
CLOSED = replace(OPEN, changed_at=NOW + timedelta(seconds=1), openings=0, until=None)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_an_open_breaker_is_found_by_its_credential(connection: Connection) -> None:
    """It comes back as it was written, and another credential has none."""
    await keep_breaker(connection, OPEN)

    assert await open_breakers(connection, "c") == [OPEN]
    assert await open_breakers(connection, "other") == []


async def test_of_two_changes_the_later_stays(connection: Connection) -> None:
    """A closing that is written before the opening that it ended is not undone by that."""
    await keep_breaker(connection, CLOSED)
    await keep_breaker(connection, OPEN)

    assert await open_breakers(connection, "c") == []


async def test_a_breaker_that_nobody_probed_for_long_is_forgotten(connection: Connection) -> None:
    """An hour after its time it no longer counts as open."""
    await keep_breaker(connection, replace(OPEN, until=NOW - timedelta(minutes=61)))

    assert await open_breakers(connection, "c") == []
