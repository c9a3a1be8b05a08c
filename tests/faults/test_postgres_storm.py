"""Postgres is killed, frozen, swallowed, and its connections are cut: nothing accepted is lost, and all goes on."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from service.embedded.postgres import EmbeddedPostgres
from tests.faults.conftest import StackOn
from tests.faults.load import (
    Load,
    assert_all_released,
    nothing_is_unfinished,
    seconds_from_a_kill,
    seconds_to_first_release,
)
from tests.faults.test_quiet_faults import events_of
from tests.support.proxy import Mode, PostgresProxy
from tests.support.servers import frozen
from tests.support.stack import Stack, body
from tests.support.waiting import eventually

Recorder = Callable[[str, object], None]
Fault = Callable[[EmbeddedPostgres], Awaitable[None]]

#: From Postgres' return to the first release.
SOON = 5.0
CUT_ALL = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


async def kill_and_restart(postgres: EmbeddedPostgres) -> None:
    """End the server as a crash does, and start it again after two seconds."""
    postgres.kill()
    await asyncio.sleep(2.0)  # the length of the outage
    await postgres.start()


async def freeze(postgres: EmbeddedPostgres) -> None:
    """Stop the server for five seconds; its connections stay open."""
    with frozen(postgres.pid):
        await asyncio.sleep(5.0)  # the length of the outage


async def cut_connections(postgres: EmbeddedPostgres) -> None:
    """Cut every connection of everybody else, five times a second for three seconds."""
    connection = await asyncpg.connect(postgres.url)
    for _ in range(15):
        await connection.execute(CUT_ALL)
        await asyncio.sleep(0.2)  # the pace of the storm
    await connection.close()


@pytest.mark.usefixtures("own_database_url")
@pytest.mark.parametrize("fault", [kill_and_restart, freeze, cut_connections])
async def test_the_work_goes_on_by_itself(
    stack_on: StackOn,
    own_postgres: EmbeddedPostgres,
    redis_url: str,
    record_property: Recorder,
    fault: Fault,
) -> None:
    """Under load and a fault of Postgres every caller gets its one id in the end, and every item is released once."""
    async with stack_on(own_postgres.url, redis_url) as stack:
        load = Load(stack)
        async with load.running():
            await eventually(stack.emulator.packages, within=10.0)
            await fault(own_postgres)
            seconds = await seconds_to_first_release(stack)
        await assert_all_released(stack, load)

        record_property("seconds_to_first_release", seconds)
        assert seconds < SOON
        await assert_all_end_in_peace(stack)


async def test_swallowed_connections_are_given_up(
    stack_on: StackOn, database_url: str, proxy: PostgresProxy, redis_url: str, record_property: Recorder
) -> None:
    """Connections that take everything and answer nothing, for ever, are opened anew soon; no task hangs or fails."""
    async with stack_on(proxy.url, redis_url) as stack:
        stack.database_url = database_url
        load = Load(stack)
        async with load.running():
            await eventually(stack.emulator.packages, within=10.0)
            proxy.swallow()
            await asyncio.sleep(3.0)  # the length of the outage
            proxy.mode = Mode.PASS
            seconds = await seconds_to_first_release(stack)
        await assert_all_released(stack, load)

        record_property("seconds_to_first_release", seconds)
        assert seconds < SOON
        await assert_all_end_in_peace(stack)
        assert [event for event in events_of(stack) if event.keys() & {"exception", "stack"}] == []


@pytest.mark.usefixtures("own_database_url")
async def test_work_that_waits_is_released_soon_after_postgres_is_back(
    stack_on: StackOn, own_postgres: EmbeddedPostgres, redis_url: str, record_property: Recorder
) -> None:
    """With no caller left to ring, what was accepted just before a crash of Postgres is found without help."""
    async with stack_on(own_postgres.url, redis_url) as stack:
        accepted = await stack.submit(body("1"))
        seconds = await seconds_from_a_kill(stack, own_postgres, outage=1.0)
        await stack.wait_for(accepted["id"], "released")

        record_property("seconds_to_first_release", seconds)
        assert seconds < SOON


async def test_work_that_waits_is_released_soon_after_connections_have_died_in_silence(
    stack_on: StackOn, database_url: str, proxy: PostgresProxy, redis_url: str, record_property: Recorder
) -> None:
    """Where every connection of an idle process is swallowed for good, the first to be noticed saves the others."""
    async with stack_on(proxy.url, redis_url) as stack:
        stack.database_url = database_url
        await stack.submit(body("1"))
        proxy.swallow()
        await asyncio.sleep(3.0)  # the length of the outage
        proxy.mode = Mode.PASS
        seconds = await seconds_to_first_release(stack)
        await eventually(lambda: nothing_is_unfinished(database_url), within=10.0)

        record_property("seconds_to_first_release", seconds)
        assert seconds < SOON


async def assert_all_end_in_peace(stack: Stack) -> None:
    """Check that no process has ended, or has a task that hangs: told to stop, each ends with exit code 0."""
    assert [process.returncode for process in stack.processes] == [None] * len(stack.processes)
    for process in stack.processes:
        process.send(signal.SIGTERM)
    assert [await process.wait(within=10.0) for process in stack.processes] == [0] * len(stack.processes)
