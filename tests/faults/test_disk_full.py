"""Postgres may not write any further: callers are told the truth, reads go on, and room is all that is needed."""

import itertools
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from service.embedded.postgres import EmbeddedPostgres
from tests.faults.conftest import StackOn
from tests.faults.load import Load, assert_all_released
from tests.support.servers import children_of
from tests.support.waiting import eventually

#: As long as a file of the write-ahead log, which so has room: without that Postgres would not go on at all.
MOST_BYTES_OF_A_FILE = 16 << 20
#: Four rows fill a page of the table of events so well that not even a small one fits besides.
FILL = """
INSERT INTO request_events (request_id, seq, type, state, detail)
SELECT $1, n, 'filler', 'released', jsonb_build_object('filler', repeat('x', 1920))
FROM generate_series($2::int + 1, $2::int + 400) AS n
"""


@contextmanager
def no_room(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Let no file of the server grow beyond 16 MiB beside a block, as on a disk that is full."""
    unlimited = resource.prlimit(postgres.pid, resource.RLIMIT_FSIZE)
    limit(postgres, (MOST_BYTES_OF_A_FILE, unlimited[1]))
    try:
        yield
    finally:
        limit(postgres, unlimited)


def limit(postgres: EmbeddedPostgres, limits: tuple[int, int]) -> None:
    for pid in [postgres.pid, *children_of(postgres.pid)]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


async def test_a_full_disk_is_503_and_needs_nothing_but_room(
    stack_on: StackOn, own_database_url: str, own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    """With no room for another event a POST is 503 and a GET works; with room again all goes on by itself."""
    async with stack_on(own_database_url, redis_url) as stack:
        load = Load(stack)
        await load.hand_in(1)
        await stack.wait_for(load.ids[1], "released")
        async with load.running():
            with no_room(own_postgres):
                await fill_events(own_database_url, load.ids[1])
                await eventually(lambda: load.retries["503"] >= 3, within=30.0, what="refused callers")
                shown = await stack.show(load.ids[1])
        await assert_all_released(stack, load)

        assert shown["state"] == "released"
        assert len(load.ids) >= 4
        assert all(process.returncode is None for process in stack.processes)


async def fill_events(database_url: str, request_id: str) -> None:
    """Write events until there is no room for another one."""
    connection = await asyncpg.connect(database_url)
    with pytest.raises(asyncpg.PostgresError, match="could not extend file"):
        await fill_without_end(connection, request_id)
    await connection.close()


async def fill_without_end(connection: "asyncpg.Connection[asyncpg.Record]", request_id: str) -> None:
    for start in itertools.count(1_000, 400):
        await connection.execute(FILL, request_id, start)
