"""What Postgres remembers of the façade: signatures that were used, and bodies whose callers were told their end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256

import asyncpg
import pytest

from service.gateways.store.database import Connection, Database, PoolSize
from service.gateways.store.generations import begin_generation, find_generation, note_told
from service.gateways.store.signed_calls import forget_calls, see_call

ONE, OTHER = sha256(b"1").digest(), sha256(b"2").digest()


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_a_signature_is_first_once(database_url: str) -> None:
    """Of twenty that come at the same moment one is first, and all see the same moment."""
    database = await Database.open(database_url, PoolSize(smallest=8, largest=8))

    async def see() -> tuple[object, int]:
        async with database.connection() as connection:
            sighting = await see_call(connection, ONE)
            return sighting.first_seen_at, sighting.times_seen

    seen = await asyncio.gather(*(see() for _ in range(20)))
    await database.close()

    assert sorted(times for _, times in seen) == list(range(1, 21))
    assert len({moment for moment, _ in seen}) == 1


async def test_the_time_since_the_first_sight_is_told(connection: Connection) -> None:
    """A signature that comes again is measured by the clock of PostgreSQL."""
    first = await see_call(connection, ONE)
    await connection.execute("UPDATE signed_calls SET first_seen_at = first_seen_at - interval '1 hour'")
    again = await see_call(connection, ONE)
    other = await see_call(connection, OTHER)

    assert timedelta(0) <= first.seen_after < timedelta(minutes=1)
    assert again.seen_after > timedelta(minutes=59)
    assert (first.times_seen, again.times_seen, other.times_seen) == (1, 2, 1)


async def test_old_signatures_are_forgotten(connection: Connection) -> None:
    """Only those that are older than asked for go."""
    await see_call(connection, ONE)
    await connection.execute("UPDATE signed_calls SET first_seen_at = now() - interval '1 hour'")
    await see_call(connection, OTHER)
    await forget_calls(connection, older_than=timedelta(minutes=30))

    assert [row["signature"] for row in await connection.fetch("SELECT signature FROM signed_calls")] == [
        OTHER
    ]


async def test_a_body_begins_anew_once_for_each_time_its_caller_was_told(connection: Connection) -> None:
    """Without a word to its caller a body stays what it is; of many that begin anew at once one does."""
    nothing_known = await find_generation(connection, "c", ONE)
    await begin_generation(connection, "c", ONE, after=1)
    untold = await find_generation(connection, "c", ONE)
    await note_told(connection, "c", ONE, generation=1)
    told = await find_generation(connection, "c", ONE)
    for _ in range(3):
        await begin_generation(connection, "c", ONE, after=1)
    begun = await find_generation(connection, "c", ONE)
    await note_told(connection, "c", ONE, generation=1)
    late = await find_generation(connection, "c", ONE)

    assert [each.number for each in (nothing_known, untold, told, begun, late)] == [1, 1, 1, 2, 2]
    assert [each.told_at is None for each in (nothing_known, untold, told, begun, late)] == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert (await find_generation(connection, "another", ONE)).number == 1


async def test_the_first_word_counts(connection: Connection) -> None:
    """Who is told later changes nothing: the call of who came before the first word still finds its request."""
    await note_told(connection, "c", ONE, generation=1)
    first = await find_generation(connection, "c", ONE)
    await note_told(connection, "c", ONE, generation=1)

    assert (await find_generation(connection, "c", ONE)).told_at == first.told_at
