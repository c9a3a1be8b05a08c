"""Workers whose wall clocks are wrong: leases, deadlines and limits go by the clocks of Postgres and Redis.

A start-up file sets the clock of one worker process for all of its Python; ``tests/support/skew`` says what that does
not cover. The HTTP process, Postgres, Redis and the emulator have the right time.
"""

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from service.gateways.queue import DOORBELL_QUEUE, now_ms
from tests.faults.conftest import QUICK, StackWith
from tests.support.invariants import check_invariants
from tests.support.nursery import REPOSITORY
from tests.support.stack import Stack, body, most_at_once, most_in_a_second
from tests.support.waiting import eventually

START_UP_FILE = REPOSITORY / "tests" / "support" / "skew"
#: Slow calls of four workspaces, so that both limits of each kind are reached.
LIMITS = {
    "RELEASE_VENDOR_RATE": "8",
    "RELEASE_WORKSPACE_RATE": "4",
    "RELEASE_VENDOR_CONCURRENCY": "3",
    "RELEASE_WORKSPACE_CONCURRENCY": "2",
    "RELEASE_BATCH_MAX_ITEMS": "1",
}
AHEAD, BEHIND = timedelta(minutes=10), timedelta(minutes=-10)
RIGHT, SECOND = timedelta(0), timedelta(seconds=1)


def skewed_by(skew: timedelta) -> dict[str, str]:
    """Return the settings of a process whose wall clock is wrong by so much."""
    return {
        "PYTHONPATH": f"{START_UP_FILE}:{REPOSITORY}",
        "SKEW_SECONDS": str(skew.total_seconds()),
    }


@pytest.mark.parametrize(
    "skews", [(AHEAD, BEHIND, RIGHT, RIGHT), (SECOND, -SECOND, RIGHT, RIGHT)], ids=["minutes", "second"]
)
async def test_leases_deadlines_and_limits_hold_whatever_the_clocks_say(
    stack_with: StackWith, skews: tuple[timedelta, ...]
) -> None:
    """Ten minutes ahead and ten behind, or a second: nothing expires early or leaves early, and no limit is passed."""
    async with stack_with({"latency_seconds": 0.2}, **QUICK, **LIMITS) as stack:
        await stack.start_api()
        workers = [await stack.start_worker(**skewed_by(skew)) for skew in skews]
        now = datetime.now(UTC)
        due = now + timedelta(seconds=5)
        deadline = (now + timedelta(minutes=2)).isoformat()
        bodies = [
            body(str(n), workspace=f"ws-{n % 4}", applicant=f"user-{n % 3}", deadline=deadline)
            for n in range(40)
        ]
        early = await stack.submit(body("early", workspace="ws-0", not_before=due.isoformat()))
        ids = await stack.submit_all(bodies)
        requests = await stack.wait_until_at_rest([*ids, early["id"]])
        calls = await stack.emulator.calls()
        of_workspaces = [[call for call in calls if call["workspace"] == f"ws-{n}"] for n in range(4)]

        assert {(request["state"], request["attempts"]) for request in requests} == {("released", 1)}
        assert await epochs(stack, requests) == {1}
        assert "batch.released" in workers[0].stderr, "who is ahead hears its doorbells first"
        assert min(call["at"] for call in calls if call["items"] == ["early"]) >= due.timestamp()
        assert most_in_a_second(calls) <= 10
        assert max(most_in_a_second(those) for those in of_workspaces) <= 5
        assert most_at_once(calls) <= 3
        assert max(most_at_once(those) for those in of_workspaces) <= 2
        await check_invariants(stack, [request["id"] for request in requests])


async def epochs(stack: Stack, requests: list[dict[str, Any]]) -> set[int]:
    """Return the epochs of their batches: above 1, a lease was taken over."""
    batches = [await stack.batch(item["batch_id"]) for request in requests for item in request["items"]]
    return {batch["epoch"] for batch in batches}


async def test_a_worker_whose_clock_is_behind_gets_along_alone(stack_with: StackWith) -> None:
    """Doorbells ring ten minutes ahead of its clock; its sweep lets those of work that is due sound all the same."""
    async with stack_with({"latency_seconds": 1.5}, **QUICK) as stack:
        await stack.start_api()
        worker = await stack.start_worker(**skewed_by(BEHIND))
        deadline = (datetime.now(UTC) + timedelta(minutes=2)).isoformat()
        ids = [
            (await stack.submit(body(str(n), workspace=f"ws-{n}", deadline=deadline)))["id"] for n in range(3)
        ]
        requests = await stack.wait_until_at_rest(ids, within=20.0)
        await worker.wait_for_line("clock.skewed")

        assert {(request["state"], request["attempts"]) for request in requests} == {("released", 1)}
        assert await epochs(stack, requests) == {1}
        await check_invariants(stack, ids)


async def test_a_worker_whose_clock_is_ahead_leaves_nothing_stuck(stack_with: StackWith) -> None:
    """It is killed with a doorbell set to ten minutes from now; a worker with the right time does the rest soon."""
    limits = {"RELEASE_VENDOR_RATE": "0.5", "RELEASE_BATCH_MAX_ITEMS": "1"}
    async with stack_with(**QUICK, **limits) as stack, Redis.from_url(stack.redis_url) as redis:
        await stack.start_api()
        worker = await stack.start_worker(**skewed_by(AHEAD))
        ids = [(await stack.submit(body(str(n))))["id"] for n in range(3)]

        async def is_caught() -> bool:
            worker.send(signal.SIGSTOP)
            if not await waits_for_long(redis):
                worker.send(signal.SIGCONT)
                return False
            return True

        await eventually(is_caught, within=15.0, every=0.1, what="a doorbell far ahead")
        worker.kill()
        await stack.start_worker()
        await check_invariants(stack, ids, within=25.0)


async def waits_for_long(redis: Redis) -> bool:
    """Tell whether a doorbell waits for a time that is minutes away."""
    soon = now_ms() + 300_000
    return bool(await redis.zcount(DOORBELL_QUEUE, soon, "+inf"))
