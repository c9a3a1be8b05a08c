"""Every limit at once, counted at the vendor, while workers come and go and Redis loses its memory."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from tests.main_job.conftest import StackWith
from tests.support.sql import fetch_value
from tests.support.stack import Stack, assert_ledger_agrees, best_rate, body, most_at_once, most_in_a_second
from tests.support.waiting import eventually

Call = Mapping[str, Any]
WORKSPACES = [f"ws-{number}" for number in range(4)]
RATE = 8
#: A limit of r calls per second allows r + max(1, r/4) in any sliding second.
SETTINGS = {
    "RELEASE_VENDOR_RATE": str(RATE),
    "RELEASE_WORKSPACE_RATE": "4",
    "RELEASE_VENDOR_CONCURRENCY": "5",
    "RELEASE_WORKSPACE_CONCURRENCY": "2",
    "RELEASE_BATCH_MAX_ITEMS": "1",
    "RELEASE_CALL_TIMEOUT_SECONDS": "3",
    "RELEASE_LEASE_SECONDS": "4",
    "RELEASE_GRACE_SECONDS": "4",
    "RELEASE_SETTLE_SECONDS": "0.5",
    "RELEASE_RECHECK_SECONDS": "0.5",
    "RELEASE_SWEEP_SECONDS": "0.5",
}
MOST, MOST_OF_WORKSPACE = 10, 5
AT_ONCE, AT_ONCE_OF_WORKSPACE = 5, 2


def uses_the_rate(calls: Sequence[Call]) -> bool:
    """Tell whether there is a time in which at least half of the rate was used: this machine may be busy."""
    return best_rate(calls) >= 0.5 * RATE


def uses_the_places(calls: Sequence[Call]) -> bool:
    """Tell whether as many calls as may be were under way at once."""
    return most_at_once(calls) == AT_ONCE


@pytest.mark.long
@pytest.mark.parametrize(("latency", "is_used"), [(0.1, uses_the_rate), (0.8, uses_the_places)])
async def test_no_limit_is_passed_and_the_one_that_binds_is_used(
    stack_with: StackWith, latency: float, is_used: Callable[[Sequence[Call]], bool]
) -> None:
    """Four workers, one killed, one restarted, Redis emptied five times: no call too many, and the limit is used."""
    async with stack_with({"latency_seconds": latency}, **SETTINGS) as stack:
        await stack.start_api()
        workers = [await stack.start_worker() for _ in range(4)]
        ids = await hand_in(stack, count=120)
        await calls_once(stack, 30)
        await forget_everything(stack)
        workers[0].send(signal.SIGKILL)
        await calls_once(stack, 50)
        await stack.start_worker()
        workers[1].send(signal.SIGTERM)
        assert await workers[1].wait() == 0
        await stack.start_worker()
        for count in (65, 72, 79, 86):
            await calls_once(stack, count)
            await forget_everything(stack)
        requests = await stack.wait_until_at_rest(ids, within=90.0)
        calls = await stack.emulator.calls()
        of_workspaces = [[call for call in calls if call["workspace"] == name] for name in WORKSPACES]

        assert most_in_a_second(calls) <= MOST
        assert max(map(most_in_a_second, of_workspaces)) <= MOST_OF_WORKSPACE
        assert most_at_once(calls) <= AT_ONCE
        assert max(map(most_at_once, of_workspaces)) <= AT_ONCE_OF_WORKSPACE
        assert is_used(calls)
        await assert_ledger_agrees(stack, requests)


async def test_calls_under_way_count_when_redis_has_lost_its_memory(stack_with: StackWith) -> None:
    """Redis is emptied while as many slow calls as allowed are under way: none is added before one has ended."""
    async with stack_with({"latency_seconds": 2.0}, **{**SETTINGS, "RELEASE_VENDOR_RATE": "0"}) as stack:
        await stack.start_api()
        for _ in range(2):
            await stack.start_worker()
        ids = await hand_in(stack, count=18)
        await eventually(lambda: is_full(stack), within=20.0, what="as many calls as allowed")
        await forget_everything(stack)
        await stack.wait_until_at_rest(ids, within=60.0)
        calls = await stack.emulator.calls()
        of_workspaces = [[call for call in calls if call["workspace"] == name] for name in WORKSPACES]

        assert most_at_once(calls) == AT_ONCE
        assert max(map(most_at_once, of_workspaces)) == AT_ONCE_OF_WORKSPACE


async def test_the_rate_holds_when_postgres_stalls_between_permit_and_write(stack_with: StackWith) -> None:
    """Claims wait two seconds for a lock while permits are given: the calls come no closer for that."""
    settings = {"RELEASE_VENDOR_RATE": str(RATE), "RELEASE_BATCH_MAX_ITEMS": "1"}
    async with stack_with({"latency_seconds": 0.05}, **settings) as stack:
        await stack.start_api()
        for _ in range(2):
            await stack.start_worker()
        ids = await hand_in(stack, count=60)
        await calls_once(stack, 8)
        await stall(stack.database_url, seconds=2.0)
        await stack.wait_until_at_rest(ids, within=60.0)
        calls = await stack.emulator.calls()

        assert most_in_a_second(calls) <= MOST


async def stall(database_url: str, *, seconds: float) -> None:
    """Let nobody write a batch for so long; all can be read."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE batches IN SHARE MODE")
            await asyncio.sleep(seconds)  # the length of the stall
    finally:
        await connection.close()


async def is_full(stack: Stack) -> bool:
    """Tell whether as many batches as allowed are being sent."""
    sending = await fetch_value(stack.database_url, "SELECT count(*) FROM batches WHERE state = 'sending'")
    return bool(sending == AT_ONCE)


async def hand_in(stack: Stack, *, count: int) -> list[str]:
    """Hand in items of several applicants in each workspace, which the vendor lists."""
    items = {name: [f"{name}-{n}" for n in range(count // len(WORKSPACES))] for name in WORKSPACES}
    for name, numbers in items.items():
        await stack.emulator.register_items(name, [{"pending_item_id": item} for item in numbers])
    bodies = [
        body(item, workspace=name, applicant=f"applicant-{n % 4}")
        for name, numbers in items.items()
        for n, item in enumerate(numbers)
    ]
    return await stack.submit_all(bodies)


async def calls_once(stack: Stack, count: int) -> list[Call]:
    async def enough() -> list[Call] | None:
        calls: list[Call] = [*await stack.emulator.calls()]
        return calls if len(calls) >= count else None

    return await eventually(enough, within=40.0, what=f"{count} calls") or []


async def forget_everything(stack: Stack) -> None:
    """Empty the test's own Redis database, as after a loss of Redis."""
    async with Redis.from_url(stack.redis_url) as redis:
        await redis.flushdb()
