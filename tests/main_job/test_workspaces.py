"""Operators at work: pause, resume, flush and settings of a workspace, with two workers and the emulator's ledger."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from redis.asyncio import Redis

from tests.main_job.conftest import StackWith
from tests.support.sql import fetch_value
from tests.support.stack import Stack, assert_ledger_agrees, body, most_at_once, most_in_a_second
from tests.support.waiting import eventually

Call = Mapping[str, Any]
ONE_BY_ONE = {"RELEASE_BATCH_MAX_ITEMS": "1"}


async def start(stack: Stack, *, workers: int = 2) -> None:
    await stack.start_api()
    for _ in range(workers):
        await stack.start_worker()


async def calls_of(stack: Stack, workspace: str) -> list[dict[str, Any]]:
    return [call for call in await stack.emulator.calls() if call["workspace"] == workspace]


async def wait_for_calls(
    stack: Stack, count: int, *, workspace: str, within: float = 20.0
) -> list[dict[str, Any]]:
    async def enough() -> list[dict[str, Any]] | None:
        calls = await calls_of(stack, workspace)
        return calls if len(calls) >= count else None

    return await eventually(enough, within=within, what=f"{count} calls of {workspace}") or []


async def release_elsewhere(stack: Stack, item: str) -> dict[str, Any]:
    """Have an item of another workspace released: the workers are at work, and look at all that they find."""
    other = await stack.submit(body(item, workspace="other"))
    return await stack.wait_for(other["id"], "released")


async def wait_reasons(stack: Stack, ids: Sequence[str]) -> set[str | None]:
    return {(await stack.show(request_id))["wait_reason"] for request_id in ids}


async def test_a_pause_stops_a_workspace_on_all_workers_and_nothing_else(stack_with: StackWith) -> None:
    """A second after the answer nothing more of the workspace is sent, though it is in full swing; others go on."""
    async with stack_with(**ONE_BY_ONE, RELEASE_VENDOR_RATE="20") as stack:
        await start(stack)
        ids = await stack.submit_all([body(str(n), applicant=f"user-{n % 8}") for n in range(80)])
        await wait_for_calls(stack, 10, workspace="ws-1")
        paused = await stack.operate("ws-1", "pause", reason="a change of the product")
        paused_at = time.time()
        accepted = await stack.submit(body("later"))
        others = [await release_elsewhere(stack, str(number)) for number in range(10)]
        calls = await calls_of(stack, "ws-1")
        reasons = await wait_reasons(stack, [accepted["id"], *ids])
        row = await stack.workspace("ws-1")

        assert (paused["paused"], paused["hold"]) == (True, {"reason": "paused", "until": None})
        assert len(calls) < 80
        assert max(call["at"] for call in calls) < paused_at + 1.0
        assert reasons == {"paused", None}
        assert row["waiting"] == 81 - len(calls)
        await stack.operate("ws-1", "resume")
        requests = await stack.wait_until_at_rest([accepted["id"], *ids])
        assert {request["state"] for request in requests} == {"released"}
        await assert_ledger_agrees(stack, [*requests, *others])


async def test_a_pause_outlives_every_process_and_redis(stack_with: StackWith) -> None:
    """Killed and started again, with an emptied Redis, the workers still send nothing of what is paused."""
    async with stack_with(RELEASE_SWEEP_SECONDS="0.5") as stack:
        await start(stack)
        await stack.operate("ws-1", "pause")
        accepted = await stack.submit(body("1"))
        for process in stack.processes:
            process.kill()
        async with Redis.from_url(stack.redis_url) as redis:
            await redis.flushdb()
        await start(stack)
        await release_elsewhere(stack, "1")
        async with Redis.from_url(stack.redis_url) as redis:
            await redis.flushdb()
        await release_elsewhere(stack, "2")
        shown = await stack.show(accepted["id"])

        assert await calls_of(stack, "ws-1") == []
        assert (shown["state"], shown["wait_reason"]) == ("accepted", "paused")
        await stack.operate("ws-1", "resume")
        await stack.wait_for(accepted["id"], "released")


async def test_a_resumed_workspace_drains_in_order_from_half_the_rate(stack_with: StackWith) -> None:
    """What waited leaves in the order in which it came, with half the rate and 1 in the first second, then the rate."""
    async with stack_with(**ONE_BY_ONE, RELEASE_VENDOR_RATE="8") as stack:
        await start(stack)
        await release_elsewhere(stack, "warm-up")
        await stack.operate("ws-1", "pause")
        ids = [(await stack.submit(body(str(n))))["id"] for n in range(20)]
        resumed_at = time.time()
        await stack.operate("ws-1", "resume")
        requests = await stack.wait_until_at_rest(ids)
        calls = sorted(await calls_of(stack, "ws-1"), key=lambda call: call["at"])
        times = [call["at"] for call in calls]

        assert {request["state"] for request in requests} == {"released"}
        assert sum(at < times[0] + 1.0 for at in times) <= 5
        assert sum(at < resumed_at + 1.0 for at in times) <= 5
        assert most_in_a_second(calls) <= 10
        # Two calls of one key that are let go together may overtake each other on their way.
        assert all(position - int(call["items"][0]) <= 2 for position, call in enumerate(calls))


async def test_a_resumption_while_redis_is_away_is_not_lost(stack_with: StackWith) -> None:
    """Doorbells that cannot be rung are rung by the sweep."""
    async with stack_with(RELEASE_SWEEP_SECONDS="0.5") as stack:
        await start(stack, workers=1)
        await stack.operate("ws-1", "pause")
        accepted = await stack.submit(body("1"))
        await release_elsewhere(stack, "1")
        # As an API process leaves it that dies after its commit.
        await fetch_value(
            stack.database_url,
            "UPDATE workspaces SET paused_at = NULL, resumed_at = now(), changed_at = now()",
        )

        await stack.wait_for(accepted["id"], "released")


async def test_calls_under_way_end_and_retries_wait_while_paused(stack_with: StackWith) -> None:
    """A call that is under way when its workspace is paused is settled; a batch that is to be sent again is not."""
    rules = [
        {"fault": "slow_body", "seconds": 1.5, "count": 1, "workspace": "slow"},
        {"fault": "503_before", "count": 1, "workspace": "failing"},
    ]
    async with stack_with({"rules": rules}, RELEASE_BACKOFF_BASE_SECONDS="1") as stack:
        await start(stack)
        under_way = await stack.submit(body("1", workspace="slow"))
        failing = await stack.submit(body("1", workspace="failing"))
        await stack.wait_for(under_way["id"], "releasing")
        await stack.operate("slow", "pause")
        await stack.wait_for(failing["id"], "batched")
        await stack.operate("failing", "pause")
        await stack.wait_for(under_way["id"], "released")
        retry_at = time.time() + 3.0
        await eventually(lambda: time.time() > retry_at, within=5.0)
        shown = await stack.show(failing["id"])

        assert len(await calls_of(stack, "failing")) == 1
        assert (shown["state"], shown["wait_reason"]) == ("batched", "paused")
        await stack.operate("failing", "resume")
        await stack.wait_for(failing["id"], "released")


async def test_a_deadline_passes_while_paused(stack_with: StackWith) -> None:
    """A pause holds no deadline up: the item expires unsent."""
    async with stack_with(RELEASE_SWEEP_SECONDS="0.5") as stack:
        await start(stack, workers=1)
        await stack.operate("ws-1", "pause")
        deadline = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        accepted = await stack.submit(body("1", deadline=deadline))
        await stack.wait_for(accepted["id"], "expired")

        assert await calls_of(stack, "ws-1") == []


async def test_what_is_paused_keeps_no_doorbell_ringing(stack_with: StackWith) -> None:
    """Workers look at a paused key once for what came, and the sweep leaves it alone."""
    async with stack_with(RELEASE_SWEEP_SECONDS="0.2", RELEASE_BATCH_LINGER_SECONDS="0.5") as stack:
        await start(stack, workers=1)
        await stack.operate("ws-1", "pause")
        await stack.submit(body("1"))
        for number in range(3):
            await release_elsewhere(stack, str(number))
        # Longer than after which the sweep believes a doorbell lost.
        quiet_from = time.time() + 2.0
        await eventually(lambda: time.time() > quiet_from, within=5.0)
        swept = [line for line in stack.processes[-1].stderr.splitlines() if "sweep.done" in line]
        async with Redis.from_url(stack.redis_url) as redis:
            waiting = await redis.zcard("release:doorbells")

        assert swept == []
        assert waiting == 0


async def test_a_flush_sends_what_is_due_and_leaves_a_pause(stack_with: StackWith) -> None:
    """Open windows close at once, marked so; what has a later time stays, and so does what is paused."""
    windows = {"RELEASE_BATCH_QUIET_SECONDS": "60", "RELEASE_BATCH_LINGER_SECONDS": "60"}
    async with stack_with(**windows) as stack:
        await start(stack)
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        due = await stack.submit(body("1"))
        not_due = await stack.submit(body("2", not_before=later))
        paused = await stack.submit(body("3", workspace="paused"))
        await stack.operate("paused", "pause")
        await stack.operate("paused", "flush")
        await stack.operate("ws-1", "flush", reason="the release train leaves")
        released = await stack.wait_for(due["id"], "released", within=10.0)
        batch = await stack.batch(released["items"][0]["batch_id"])
        newcomer = await stack.submit(body("4"))
        await release_at_once(stack)
        calls = await stack.emulator.calls()

        assert batch["closed_by"] == "flush"
        assert {item for call in calls for item in call["items"]} == {"1", "at-once"}
        assert (await stack.show(not_due["id"]))["state"] == "accepted"
        assert (await stack.show(newcomer["id"]))["wait_reason"] == "window_open"
        assert (await stack.show(paused["id"]))["wait_reason"] == "paused"
        await stack.operate("paused", "resume")
        await stack.wait_for(paused["id"], "released", within=10.0)


async def release_at_once(stack: Stack) -> None:
    """Have an item released that waits for no window, so that the workers have looked around."""
    await stack.settle("other", max_items=1)
    other = await stack.submit(body("at-once", workspace="other"))
    await stack.wait_for(other["id"], "released", within=10.0)


async def test_a_changed_window_is_in_force_without_a_restart(stack_with: StackWith) -> None:
    """A size of its own splits what waits; a window that is opened wide holds, and one that is closed lets go."""
    async with stack_with(RELEASE_BATCH_QUIET_SECONDS="60", RELEASE_BATCH_LINGER_SECONDS="60") as stack:
        await start(stack)
        ids = await stack.submit_all([body(str(n)) for n in range(6)])
        await stack.settle("ws-1", max_items=2)
        await stack.wait_until_at_rest(ids, within=10.0)
        sizes = [len(call["items"]) for call in await calls_of(stack, "ws-1")]
        waiting = await stack.submit(body("more"))
        row = await stack.settle("ws-1", max_items=None, quiet_seconds=0.1, reason="in a hurry")
        await stack.wait_for(waiting["id"], "released", within=10.0)
        alone = await stack.submit(body("alone"))
        await stack.wait_for(alone["id"], "released", within=10.0)

        assert sizes == [2, 2, 2]
        assert row["settings"] == {
            "max_items": 100,
            "quiet_seconds": 0.1,
            "linger_seconds": 60.0,
            "rate": 0.0,
            "concurrency": 0,
        }


async def test_a_changed_rate_is_in_force_on_all_workers_without_a_restart(stack_with: StackWith) -> None:
    """Slowed down to 2 a second in full swing, then let go again: the ledger shows both, and no call too many."""
    async with stack_with(**ONE_BY_ONE, RELEASE_VENDOR_RATE="40") as stack:
        await start(stack)
        ids = await stack.submit_all([body(str(n), applicant=f"user-{n % 8}") for n in range(120)])
        await wait_for_calls(stack, 20, workspace="ws-1")
        await stack.settle("ws-1", rate=2)
        slow_from = time.time() + 2.0
        await eventually(lambda: time.time() > slow_from + 3.0, within=10.0)
        slow_until = time.time()
        slow = [call for call in await calls_of(stack, "ws-1") if slow_from <= call["at"] < slow_until]
        await stack.settle("ws-1", rate=None)
        requests = await stack.wait_until_at_rest(ids)
        fast = [call for call in await calls_of(stack, "ws-1") if call["at"] >= slow_until]

        assert 1 <= len(slow) <= 9
        assert most_in_a_second(slow) <= 3
        assert max(later["at"] - earlier["at"] for earlier, later in pairwise(slow)) < 2.0
        assert most_in_a_second(fast) > 6
        assert {request["state"] for request in requests} == {"released"}


async def test_a_changed_number_of_calls_at_once_is_in_force(stack_with: StackWith) -> None:
    """One call at a time for the workspace, though sixteen are allowed."""
    async with stack_with({"latency_seconds": 0.3}, **ONE_BY_ONE) as stack:
        await start(stack)
        await stack.settle("ws-1", concurrency=1)
        ids = await stack.submit_all([body(str(n), applicant=f"user-{n}") for n in range(8)])
        requests = await stack.wait_until_at_rest(ids)

        assert most_at_once(await calls_of(stack, "ws-1")) == 1
        assert {request["state"] for request in requests} == {"released"}


async def test_a_rate_that_was_nearly_none_is_lifted_at_once(stack_with: StackWith) -> None:
    """A workspace of one call in a hundred seconds is let go by a change, not after the hundred seconds."""
    async with stack_with(**ONE_BY_ONE) as stack:
        await start(stack)
        await stack.settle("ws-1", rate=0.01)
        ids = [(await stack.submit(body(str(n))))["id"] for n in range(4)]
        await wait_for_calls(stack, 1, workspace="ws-1")

        async def is_held() -> bool:
            reasons = await wait_reasons(stack, ids[-1:])
            return reasons == {"workspace_rate"}

        await eventually(is_held)
        await stack.settle("ws-1", rate=20)

        await asyncio.gather(*(stack.wait_for(request_id, "released", within=10.0) for request_id in ids))


async def test_an_urgent_request_leaves_with_the_next_batch(stack_with: StackWith) -> None:
    """High priority handed in last goes before fifty that wait, and one that was overtaken for long goes along."""
    async with stack_with(RELEASE_BATCH_MAX_ITEMS="10") as stack:
        await start(stack)
        await stack.operate("ws-1", "pause")
        low = await stack.submit(body("low", priority="low"))
        await fetch_value(
            stack.database_url, "UPDATE release_items SET due_from = due_from - interval '40 seconds'"
        )
        ids = await stack.submit_all([body(str(n)) for n in range(50)])
        high = await stack.submit(body("high", priority="high"))
        await stack.settle("ws-1", rate=1)
        await stack.operate("ws-1", "resume")
        first = (await wait_for_calls(stack, 1, workspace="ws-1"))[0]
        await stack.settle("ws-1", rate=None)
        await stack.wait_until_at_rest([low["id"], high["id"], *ids])

        assert {"low", "high"} <= set(first["items"])
