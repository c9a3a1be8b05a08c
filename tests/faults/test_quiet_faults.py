"""What a fault that is expected leaves in the log: JSON objects, one a line, and no traceback."""

import json

import pytest

from service.core.telemetry import LogEvent
from service.embedded.postgres import EmbeddedPostgres
from tests.faults.conftest import StackOn
from tests.faults.load import Load, assert_all_released, seconds_from_a_kill
from tests.support.stack import Stack
from tests.support.waiting import eventually


@pytest.mark.usefixtures("own_database_url")
async def test_a_killed_postgres_leaves_no_traceback(
    stack_on: StackOn, own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    """With Postgres killed under load, API and worker write JSON lines only, and say once that it is lost."""
    async with stack_on(own_postgres.url, redis_url) as stack:
        load = Load(stack)
        async with load.running():
            await eventually(stack.emulator.packages, within=10.0)
            await seconds_from_a_kill(stack, own_postgres, outage=3.0)
        await assert_all_released(stack, load)

        events = events_of(stack)
        assert [event["event"] for event in events].count(LogEvent.DATABASE_LOST) == len(stack.processes)
        assert [event for event in events if event.keys() & {"exception", "stack"}] == []


def events_of(stack: Stack) -> list[dict[str, object]]:
    """Read every line that the processes have written; fails where one is no JSON object."""
    lines = [line for process in stack.processes for line in (process.stdout + process.stderr).splitlines()]
    events = [json.loads(line) for line in lines]
    assert [event for event in events if not isinstance(event, dict)] == []
    return events
