"""Processes are exchanged one after the other under load: no call fails, no connection is refused, nothing is lost."""

import asyncio
import os
import signal

import pytest

from tests.faults.conftest import StackOn
from tests.faults.load import Load, assert_all_released
from tests.support.processes import ServiceProcess
from tests.support.servers import children_of
from tests.support.stack import Stack
from tests.support.waiting import eventually

ROUNDS = 4


@pytest.mark.long
async def test_nobody_notices_a_rolling_restart(stack_on: StackOn, database_url: str, redis_url: str) -> None:
    """Two HTTP processes and two workers are told to stop in turn, four rounds: no caller has to ask again."""
    async with stack_on(database_url, redis_url, starts=False) as stack:
        api = stack.start("api", "--processes", "2")
        await started(api, 2)
        workers = [await stack.start_worker(), await stack.start_worker()]
        fresh = Load(stack, callers=2, keeps_alive=False)
        kept = Load(stack, callers=2, first_item=1_200)
        codes: list[int | None] = []
        async with fresh.running(), kept.running():
            for number in range(ROUNDS):
                codes += await asyncio.gather(exchange_worker(stack, workers), exchange_child(api, number))
        await assert_all_released(stack, fresh, kept)
        api.send(signal.SIGTERM)

        assert codes == [0, None] * ROUNDS
        assert (fresh.retries, kept.retries) == ({}, {})
        assert await api.wait(within=15.0) == 0
        assert "process.failed" not in api.stderr


async def started(api: ServiceProcess, count: int) -> None:
    await eventually(
        lambda: api.stderr.count("process.started") >= count, within=30.0, what=f"{count} starts"
    )


async def exchange_child(api: ServiceProcess, number: int) -> None:
    """Tell one of the two HTTP processes to stop, the older first, and wait until another has taken its place."""
    os.kill(min(children_of(api.pid)), signal.SIGTERM)
    await started(api, 3 + number)


async def exchange_worker(stack: Stack, workers: list[ServiceProcess]) -> int:
    """Start another worker, then tell the oldest to stop; returns its exit code."""
    workers.append(await stack.start_worker())
    oldest = workers.pop(0)
    oldest.send(signal.SIGTERM)
    return await oldest.wait(within=15.0)
