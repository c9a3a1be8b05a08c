"""Limits, breakers and retries under faults, measured at the vendor."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.main_job.conftest import StackWith
from tests.support.stack import Stack, assert_ledger_agrees, body, most_at_once, most_in_a_second
from tests.support.waiting import eventually

Call = Mapping[str, Any]
#: Certainly not executed, so that nothing has to be looked up.
UNAVAILABLE = "503_before"


def of_workspace(calls: Sequence[Call], workspace: str) -> list[Call]:
    return [call for call in calls if call["workspace"] == workspace]


async def forget_everything(stack: Stack) -> None:
    """Empty the test's own Redis database, as after a loss of Redis."""
    async with Redis.from_url(stack.redis_url) as redis:
        await redis.flushdb()


async def start(stack: Stack, *, workers: int = 1) -> None:
    await stack.start_api()
    for _ in range(workers):
        await stack.start_worker()


async def wait_for_calls(stack: Stack, count: int, *, workspace: str, within: float = 20.0) -> list[Call]:
    async def enough() -> list[Call] | None:
        calls = of_workspace(await stack.emulator.calls(), workspace)
        return calls if len(calls) >= count else None

    return await eventually(enough, within=within, what=f"{count} calls") or []


async def test_the_rate_holds_over_throttles_kills_and_a_lost_redis(stack_with: StackWith) -> None:
    """Three workers at 8 calls/s: no second sees more than 10, with 429s, a kill and two FLUSHDBs in between."""
    throttles = {"rules": [{"fault": "429", "retry_after": "1", "count": 2}]}
    settings = {
        "RELEASE_VENDOR_RATE": "8",
        "RELEASE_BATCH_MAX_ITEMS": "1",
        "RELEASE_CALL_TIMEOUT_SECONDS": "2",
        "RELEASE_LEASE_SECONDS": "3",
        "RELEASE_GRACE_SECONDS": "3",
        "RELEASE_SETTLE_SECONDS": "0.5",
        "RELEASE_RECHECK_SECONDS": "0.5",
    }
    async with stack_with(throttles, **settings) as stack:
        items = [str(number) for number in range(45)]
        for workspace in range(3):
            known = [{"pending_item_id": item} for item in items if int(item) % 3 == workspace]
            await stack.emulator.register_items(f"ws-{workspace}", known)
        await start(stack, workers=3)
        ids = await stack.submit_all([body(item, workspace=f"ws-{int(item) % 3}") for item in items])
        await eventually(stack.emulator.packages, within=20.0)
        await forget_everything(stack)
        stack.processes[-1].send(signal.SIGKILL)
        await eventually(lambda: packages_beyond(stack, 20), within=30.0)
        await forget_everything(stack)
        requests = await stack.wait_until_at_rest(ids, within=60.0)
        calls = await stack.emulator.calls()

        assert most_in_a_second(calls) <= 10
        assert Counter(call["status"] == 429 for call in calls)[True] == 2
        assert {request["state"] for request in requests} <= {"released", "in_doubt"}
        await assert_ledger_agrees(stack, requests)


async def packages_beyond(stack: Stack, count: int) -> bool:
    return len(await stack.emulator.packages()) > count


@pytest.mark.parametrize("retry_after", ["2", "date:3"])
async def test_a_throttled_workspace_comes_back_at_half_the_rate(
    stack_with: StackWith, retry_after: str
) -> None:
    """No call before the time that the vendor named, in seconds or as a date; then half the rate and 1 in a second."""
    rule = {"fault": "429", "retry_after": retry_after, "count": 1, "workspace": "ws-a"}
    settings = {"RELEASE_VENDOR_RATE": "8", "RELEASE_BATCH_MAX_ITEMS": "1"}
    async with stack_with({"rules": [rule]}, **settings) as stack:
        await start(stack, workers=2)
        bodies = [body(f"a{n}", workspace="ws-a", applicant=f"user-{n % 4}") for n in range(20)]
        ids = await stack.submit_all([*bodies, *(body(f"b{n}", workspace="ws-b") for n in range(10))])
        requests = await stack.wait_until_at_rest(ids)
        calls = await stack.emulator.calls()
        throttled = next(call for call in calls if call["status"] == 429)
        later = [call["at"] for call in of_workspace(calls, "ws-a") if call["at"] > throttled["at"] + 0.5]
        others = [call["at"] - throttled["at"] for call in of_workspace(calls, "ws-b")]
        resent = [call["package_name"] for call in calls if call["items"] == throttled["items"]]

        assert later[0] - throttled["at"] >= 2.0
        assert sum(at < later[0] + 1.0 for at in later) <= 5
        assert any(0 < at < 2.0 for at in others)
        assert resent == [throttled["package_name"]] * 2
        assert {request["attempts"] for request in requests} == {1}


async def test_a_failing_workspace_gets_only_probes_and_the_others_go_on(stack_with: StackWith) -> None:
    """After five failures one probe at a time, over restarts of workers and a lost Redis, until one works."""
    rule = {"fault": UNAVAILABLE, "workspace": "ws-bad"}
    settings = {
        "RELEASE_BATCH_MAX_ITEMS": "1",
        "RELEASE_MAX_ATTEMPTS": "50",
        "RELEASE_BACKOFF_BASE_SECONDS": "0.6",
        "RELEASE_BACKOFF_CAP_SECONDS": "3",
        "RELEASE_SWEEP_SECONDS": "0.5",
    }
    async with stack_with({"rules": [rule]}, **settings) as stack:
        await start(stack, workers=2)
        good = [(await stack.submit(body(f"g{n}", workspace=f"ws-{n}")))["id"] for n in range(3)]
        await stack.wait_until_at_rest(good)
        bad = await stack.submit_all([body(f"x{n}", workspace="ws-bad") for n in range(12)])
        await eventually(lambda: has_opened(stack), within=20.0)
        await wait_for_calls(stack, 5, workspace="ws-bad")
        held = await eventually(lambda: held_by_breaker(stack, bad), within=10.0)
        before = len(of_workspace(await stack.emulator.calls(), "ws-bad"))
        await eventually(
            lambda: nothing_is_releasing(stack, bad), within=10.0
        )  # or it would be in doubt for a minute
        stack.processes[-1].kill()
        await stack.start_worker()
        await forget_everything(stack)
        other = await stack.submit(body("g9", workspace="ws-0"))
        await stack.wait_for(other["id"], "released")
        failing = await wait_for_calls(stack, before + 3, workspace="ws-bad", within=30.0)
        await stack.emulator.clear_faults()
        await stack.emulator.patch_faults({"rate_user": 0, "rate_api": 0})
        requests = await stack.wait_until_at_rest([*good, *bad, other["id"]], within=40.0)
        probes = [call["at"] for call in failing[before:]]

        assert held["not_before"] is not None
        assert min(after - earlier for earlier, after in pairwise(probes)) > 2.0
        assert before <= 5 + 12, "calls in flight when it opened, and no more"
        assert {request["state"] for request in requests} == {"released"}
        assert any("breaker.closed" in process.stderr for process in stack.processes)
        await assert_ledger_agrees(stack, requests)


async def has_opened(stack: Stack) -> bool:
    return any("breaker.opened" in process.stderr for process in stack.processes)


async def nothing_is_releasing(stack: Stack, ids: Sequence[str]) -> bool:
    states = {(await stack.show(request_id))["state"] for request_id in ids}
    return "releasing" not in states


async def held_by_breaker(stack: Stack, ids: Sequence[str]) -> dict[str, Any] | None:
    for request_id in ids:
        shown = await stack.show(request_id)
        if shown["wait_reason"] == "breaker_open":
            return shown
    return None


@pytest.mark.long
async def test_an_outage_causes_no_storm_and_its_end_no_herd(stack_with: StackWith) -> None:
    """Six workspaces with a backlog, the vendor away: a bounded number of calls; back again, the rate holds."""
    settings = {
        "RELEASE_VENDOR_RATE": "8",
        "RELEASE_BATCH_MAX_ITEMS": "1",
        "RELEASE_MAX_ATTEMPTS": "100",
        "RELEASE_BACKOFF_BASE_SECONDS": "0.5",
        "RELEASE_BACKOFF_CAP_SECONDS": "2",
        "RELEASE_SWEEP_SECONDS": "0.5",
    }
    async with stack_with({"rules": [{"fault": UNAVAILABLE}]}, **settings) as stack:
        await start(stack, workers=3)
        ids = await stack.submit_all([body(str(n), workspace=f"ws-{n % 6}") for n in range(42)])
        await eventually(lambda: has_opened(stack), within=20.0)
        await asyncio.sleep(6)  # the outage itself
        during = await stack.emulator.calls()
        await stack.emulator.put_faults({"rate_user": 0, "rate_api": 0})
        ended_at = time.time()
        requests = await stack.wait_until_at_rest(ids, within=60.0)
        calls = await stack.emulator.calls()
        after = [call for call in calls if call["at"] > ended_at]

        assert len(during) < 45, "five a workspace until it opens, some in flight by then, and probes"
        assert most_in_a_second(calls) <= 10
        assert {request["state"] for request in requests} == {"released"}
        assert after[-1]["at"] - ended_at < 40
        await assert_ledger_agrees(stack, requests)


async def test_retries_grow_and_end(stack_with: StackWith) -> None:
    """Batches of a failing vendor end failed after the maximum of attempts, with pauses that grow."""
    settings = {
        "RELEASE_MAX_ATTEMPTS": "4",
        "RELEASE_BACKOFF_BASE_SECONDS": "0.4",
        "RELEASE_BACKOFF_CAP_SECONDS": "5",
    }
    async with stack_with({"rules": [{"fault": UNAVAILABLE}]}, **settings) as stack:
        await start(stack, workers=2)
        ids = await stack.submit_all([body(str(n), workspace=f"ws-{n}") for n in range(3)])
        requests = await stack.wait_until_at_rest(ids, within=60.0)
        calls = await stack.emulator.calls()
        pauses = [
            [
                round(later["at"] - earlier["at"], 2)
                for earlier, later in pairwise(of_workspace(calls, f"ws-{n}"))
            ]
            for n in range(3)
        ]

        assert {request["state"] for request in requests} == {"failed"}
        assert {request["attempts"] for request in requests} == {4}
        assert [len(each) for each in pauses] == [3, 3, 3]
        for each in pauses:
            assert all(pause >= shortest for pause, shortest in zip(each, (0.2, 0.4, 0.8), strict=True))
            assert each[2] > each[0]


async def test_a_batch_that_is_too_old_is_failed_instead_of_tried_again(stack_with: StackWith) -> None:
    """Attempts are left, but a call that fails after the maximum age was the last one."""
    settings = {
        "RELEASE_MAX_ATTEMPTS": "100",
        "RELEASE_MAX_AGE_SECONDS": "1.5",
        "RELEASE_BACKOFF_BASE_SECONDS": "0.4",
        "RELEASE_BACKOFF_CAP_SECONDS": "0.8",
    }
    async with stack_with({"rules": [{"fault": UNAVAILABLE}]}, **settings) as stack:
        await start(stack)
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "failed")

        assert 1 < request["attempts"] < 10
        assert request["error"]["retryable"] is True


@pytest.mark.long
async def test_retries_stay_within_their_budget(stack_with: StackWith) -> None:
    """Thirty batches of thirty workspaces fail: sixteen retries are let through, then one in three seconds."""
    settings = {
        "RELEASE_VENDOR_RATE": "0",
        "RELEASE_BACKOFF_BASE_SECONDS": "0.5",
        "RELEASE_BACKOFF_CAP_SECONDS": "0.5",
        "RELEASE_MAX_ATTEMPTS": "4",
        "RELEASE_SWEEP_SECONDS": "0.5",
    }
    async with stack_with(**settings) as stack:
        await start(stack)
        first = await stack.submit(body("0"))
        await stack.wait_for(first["id"], "released")
        await stack.emulator.patch_faults({"rules": [{"fault": UNAVAILABLE}]})
        await stack.submit_all([body(str(n), workspace=f"ws-{n}") for n in range(1, 31)])

        async def enough() -> list[Call] | None:
            calls = await stack.emulator.calls()
            return list(calls) if len(calls) >= 1 + 30 + 19 else None

        calls = await eventually(enough, within=30.0) or []
        of_each = [of_workspace(calls, f"ws-{n}")[1:] for n in range(1, 31)]
        moments = sorted(call["at"] for retries in of_each for call in retries)
        allowed = [10 + 31 * 0.2 + (at - moments[0]) / 3 + 1 for at in moments]

        assert all(count <= most for count, most in enumerate(allowed, start=1))


async def test_a_single_item_is_not_starved_by_a_hot_workspace(stack_with: StackWith) -> None:
    """With 5,000 items of one workspace waiting, another's one is called within two calls; alone it has all calls."""
    async with stack_with(RELEASE_VENDOR_RATE="5") as stack:
        await start(stack, workers=2)
        hot = [body(*(str(n * 200 + m) for m in range(200)), workspace="ws-hot") for n in range(25)]
        ids = await stack.submit_all(hot)
        singles = []
        for number in range(3):
            seen = len(of_workspace(await stack.emulator.calls(), "ws-hot"))
            await wait_for_calls(stack, seen + 4, workspace="ws-hot")
            single = await stack.submit(body("1", workspace=f"ws-cold-{number}"))
            singles.append(await stack.wait_for(single["id"], "released"))
        left = 50 - len(of_workspace(await stack.emulator.calls(), "ws-hot"))
        requests = await stack.wait_until_at_rest(ids)
        calls = await stack.emulator.calls()
        sizes = [len(call["items"]) for call in of_workspace(calls, "ws-hot")]
        seconds = calls[-1]["at"] - calls[0]["at"]

        assert left > 5, "the hot workspace still waited when the last single was released"
        assert max(len(calls_before(calls, single)) for single in singles) <= 2
        assert sizes == [100] * 50
        assert (len(calls) - 1) / seconds >= 0.5 * 5
        assert most_in_a_second(calls) <= 6
        await assert_ledger_agrees(stack, [*requests, *singles])


def calls_before(calls: Sequence[Call], single: Mapping[str, Any]) -> list[Call]:
    """Return the calls for others between the end of a lone item's window and its own call."""
    is_due_at = datetime.fromisoformat(single["created_at"]).timestamp() + 0.2
    called_at = next(call["at"] for call in calls if call["workspace"] == single["workspace"])
    return [call for call in calls if is_due_at < call["at"] < called_at]


async def test_calls_at_once_stay_within_both_limits(stack_with: StackWith) -> None:
    """With 5 at once in all and 2 a workspace, four workers reach both limits and pass neither."""
    settings = {"RELEASE_VENDOR_CONCURRENCY": "5", "RELEASE_WORKSPACE_CONCURRENCY": "2"}
    async with stack_with({"latency_seconds": 0.3}, **settings, RELEASE_BATCH_MAX_ITEMS="1") as stack:
        await start(stack, workers=4)
        bodies = [body(str(n), workspace=f"ws-{n % 4}", applicant=f"user-{n % 3}") for n in range(40)]
        ids = await stack.submit_all(bodies)
        await stack.wait_until_at_rest(ids)
        calls = await stack.emulator.calls()

        assert most_at_once(calls) == 5
        assert max(most_at_once(of_workspace(calls, f"ws-{n}")) for n in range(4)) == 2
