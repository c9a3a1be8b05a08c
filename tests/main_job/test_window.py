"""When a window closes: quiet time, linger, size and deadline, measured at the vendor."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from service.gateways.queue import DOORBELL_QUEUE
from tests.main_job.conftest import StackWith
from tests.support.stack import Stack, body
from tests.support.waiting import eventually

#: Seconds that a busy machine may be late.
LATENESS = 0.3


async def calls_once(stack: Stack, count: int, *, within: float = 10.0) -> list[dict[str, Any]]:
    """Wait until the vendor has seen so many calls, and return them."""

    async def enough() -> list[dict[str, Any]] | None:
        calls = await stack.emulator.calls()
        return calls if len(calls) >= count else None

    return await eventually(enough, within=within, what=f"{count} calls") or []


async def test_full_batches_leave_at_once_and_the_rest_after_the_quiet_time(stack_with: StackWith) -> None:
    """25 requests of one item each, at most 10 a batch: calls of 10, 10 and 5, the last within a second."""
    settings = {
        "RELEASE_BATCH_MAX_ITEMS": "10",
        "RELEASE_BATCH_QUIET_SECONDS": "0.5",
        "RELEASE_BATCH_LINGER_SECONDS": "2",
    }
    async with stack_with(**settings) as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.submit_all([body(str(number)) for number in range(25)], connections=25)
        last_request_at = time.time()
        calls = await calls_once(stack, 3)

        assert sorted(len(call["items"]) for call in calls) == [5, 10, 10]
        assert max(call["at"] for call in calls) - last_request_at < 1.0


async def test_a_lone_item_leaves_after_the_quiet_time(stack: Stack) -> None:
    """With a quiet time of 0.2 s and a linger of 2 s, a lone item is sent within half a second."""
    await stack.submit(body("warm-up", workspace="other"))
    await calls_once(stack, 1)
    accepted_at = time.time()
    await stack.submit(body("1"))
    call = (await calls_once(stack, 2))[-1]

    assert 0.15 < call["at"] - accepted_at < 0.5


async def test_a_steady_trickle_never_waits_longer_than_the_linger(stack: Stack) -> None:
    """With an item every 0.1 s the window never falls quiet; still nobody waits for 2 s."""
    accepted_at: dict[str, float] = {}
    for number in range(50):
        accepted_at[str(number)] = time.time()
        await stack.submit(body(str(number)))
        await asyncio.sleep(0.1)  # the pace of the trickle is the subject of the test
    await calls_once(stack, 3)
    calls = await stack.emulator.calls()
    waits = [call["at"] - accepted_at[item] for call in calls for item in call["items"]]

    assert max(waits) < 2.0 + LATENESS
    assert max(waits) > 1.5, "the linger should be used"


async def test_batches_never_mix_workspaces_applicants_or_approvers(stack: Stack) -> None:
    """Requests that differ in any part of the key go into packages of their own."""
    bodies = [
        body(f"{workspace}-{applicant}-{approver}", workspace=workspace, applicant=applicant)
        | {"approver_ids": [approver, "second"]}
        for workspace in ("ws-a", "ws-b")
        for applicant in ("ann", "bob")
        for approver in ("carl", "dora")
    ]
    ids = await stack.submit_all(bodies)
    await stack.wait_until_at_rest(ids)
    packages = await stack.emulator.packages()

    assert len(packages) == 8
    assert all(
        package["items"]
        == [f"{package['workspace']}-{package['apply_user_id']}-{min(package['approver_ids'])}"]
        for package in packages
    )


async def test_the_order_of_approvers_makes_no_difference(stack: Stack) -> None:
    """Two requests with the same approvers in another order share a package."""
    first = body("1") | {"approver_ids": ["x", "y"]}
    second = body("2") | {"approver_ids": ["y", "x"]}
    ids = await stack.submit_all([first, second])
    await stack.wait_until_at_rest(ids)

    assert [sorted(package["items"]) for package in await stack.emulator.packages()] == [["1", "2"]]


async def test_a_named_package_is_released_under_its_name(stack: Stack) -> None:
    """A name that the caller chose is used as it is, in a batch of its own."""
    ids = await stack.submit_all([body("1", package_name="spring release 1"), body("2")])
    await stack.wait_until_at_rest(ids)
    names = {package["items"][0]: package["package_name"] for package in await stack.emulator.packages()}

    assert names["1"] == "spring release 1"
    assert names["2"].startswith("release-ws-1-")


async def test_a_request_of_more_than_a_batch_is_released_in_several(stack: Stack) -> None:
    """250 items of one request leave in three packages, and the request is released as a whole."""
    accepted = await stack.submit(body(*(str(number) for number in range(250))))
    request = await stack.wait_for(accepted["id"], "released")
    sizes = sorted(len(package["items"]) for package in await stack.emulator.packages())

    assert sizes == [50, 100, 100]
    assert len({item["release_package_id"] for item in request["items"]}) == 3


async def test_a_not_before_is_waited_for(stack: Stack) -> None:
    """An item is not sent before its time, and soon after it."""
    not_before = datetime.now(UTC) + timedelta(seconds=1.5)
    accepted = await stack.submit(body("1", not_before=not_before.isoformat()))
    call = (await calls_once(stack, 1))[0]

    assert accepted["not_before"] is not None
    assert 0.0 <= call["at"] - not_before.timestamp() < 1.0


async def test_an_item_does_not_wait_for_one_of_a_later_time(stack_with: StackWith) -> None:
    """What is put off has its own doorbell: new items of its key leave after the quiet time, without the sweep."""
    async with stack_with(RELEASE_SWEEP_SECONDS="60") as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.submit(body("1", not_before=(datetime.now(UTC) + timedelta(hours=1)).isoformat()))
        await eventually(lambda: rings_later(stack), what="a doorbell for the later time")
        accepted = await stack.submit(body("2"))

        await stack.wait_for(accepted["id"], "released", within=10.0)


async def rings_later(stack: Stack) -> bool:
    redis = Redis.from_url(stack.redis_url)
    try:
        return bool(await redis.zcount(DOORBELL_QUEUE, (time.time() + 60) * 1000, "+inf"))
    finally:
        await redis.aclose()


async def test_a_deadline_inside_the_window_closes_it_early(stack_with: StackWith) -> None:
    """A deadline nearer than the quiet time is met."""
    async with stack_with(RELEASE_BATCH_QUIET_SECONDS="5", RELEASE_BATCH_LINGER_SECONDS="30") as stack:
        await stack.start_api()
        await stack.start_worker()
        deadline = datetime.now(UTC) + timedelta(seconds=3)
        accepted = await stack.submit(body("1", deadline=deadline.isoformat()))
        call = (await calls_once(stack, 1))[0]
        request = await stack.wait_for(accepted["id"], "released")
        batch = await stack.batch(request["items"][0]["batch_id"])

        assert call["at"] < deadline.timestamp()
        assert batch["closed_by"] == "deadline"


@pytest.mark.parametrize("has_follower", [False, True])
async def test_an_item_whose_deadline_passes_while_it_waits_expires_unsent(
    stack_with: StackWith, *, has_follower: bool
) -> None:
    """With no worker in time, the item ends expired and is never sent; who shares the item goes on alone."""
    async with stack_with() as stack:
        await stack.start_api()
        deadline = datetime.now(UTC) + timedelta(seconds=1)
        accepted = await stack.submit(body("1", deadline=deadline.isoformat()))
        follower = await stack.submit(body("1")) if has_follower else None
        await eventually(lambda: datetime.now(UTC) > deadline, within=3.0)
        await stack.start_worker()
        expired = await stack.wait_for(accepted["id"], "expired")

        assert expired["items"][0]["error"]["code"] == "deadline-passed"
        if follower is None:
            assert await stack.emulator.calls() == []
        else:
            await stack.wait_for(follower["id"], "released")


async def test_a_deadline_holds_to_the_moment_whatever_has_kept_the_item_back(stack_with: StackWith) -> None:
    """An item whose workspace is resumed after its deadline is not sent, however rarely the sweep comes round."""
    async with stack_with(RELEASE_SWEEP_SECONDS="8", RELEASE_BATCH_QUIET_SECONDS="0.1") as stack:
        await stack.start_api()
        await stack.start_worker()
        place = f"{stack.url}/v1/workspaces/{stack.environment['RELEASE_PROJECT_ID']}/ws-1"
        async with stack.http.post(f"{place}/pause") as response:
            assert response.status == 200
        deadline = datetime.now(UTC) + timedelta(seconds=0.7)
        late = await stack.submit(body("1", deadline=deadline.isoformat()))
        kept = await stack.submit(body("2"))
        await eventually(lambda: datetime.now(UTC) > deadline, within=5, what="the deadline")
        async with stack.http.post(f"{place}/resume") as response:
            assert response.status == 200
        await stack.wait_for(kept["id"], "released")
        await stack.wait_for(late["id"], "expired", within=30)

        assert [call["items"] for call in await stack.emulator.calls()] == [["2"]]


async def test_who_is_attached_has_a_deadline_of_its_own(stack_with: StackWith) -> None:
    """It expires while the holder still waits, which then is released alone."""
    async with stack_with(RELEASE_SWEEP_SECONDS="0.3") as stack:
        await stack.start_api()
        await stack.start_worker()
        soon = datetime.now(UTC) + timedelta(seconds=4)
        holder = await stack.submit(body("1", not_before=soon.isoformat()))
        deadline = datetime.now(UTC) + timedelta(seconds=0.7)
        attached = await stack.submit(body("1", deadline=deadline.isoformat()))
        await stack.wait_for(attached["id"], "expired")

        assert (await stack.show(holder["id"]))["state"] == "accepted"
        await stack.wait_for(holder["id"], "released")
        assert (await stack.show(attached["id"]))["state"] == "expired"
