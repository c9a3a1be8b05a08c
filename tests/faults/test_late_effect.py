"""Effects and lists that come late: absence is not concluded early, and a wrong conclusion makes no second package."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from tests.faults.conftest import QUICK, LendStack
from tests.support.stack import Stack, assert_ledger_agrees, body
from tests.support.waiting import eventually

Faults = dict[str, Any]
LATE_SECONDS = 7


def late_effect(seconds: float) -> Faults:
    """The connection closes, and the package is made so many seconds later."""
    return {"rules": [{"fault": "late_effect", "count": 1, "seconds": seconds}]}


def list_lag(seconds: float) -> Faults:
    """The package is made, the answer is lost, and the lists show the package so many seconds later."""
    return {"rules": [{"fault": "drop_after", "count": 1}], "list_lag_seconds": seconds}


async def try_both(scenario: Callable[[Faults], Awaitable[None]], seconds: float) -> None:
    """Run a scenario with a late effect and, beside it, with a late list."""
    await asyncio.gather(scenario(late_effect(seconds)), scenario(list_lag(seconds)))


async def submit_one(stack: Stack) -> dict[str, Any]:
    """Start the processes and hand in an item that the vendor knows."""
    await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
    await stack.start_api()
    await stack.start_worker()
    return await stack.submit(body("1"))


async def first_attempt(stack: Stack, request: Mapping[str, Any]) -> dict[str, Any]:
    batch = await stack.batch(request["items"][0]["batch_id"])
    attempt: dict[str, Any] = batch["attempts"][0]
    return attempt


async def test_what_shows_within_the_settle_time_is_never_taken_for_absent(lend_stack: LendStack) -> None:
    """A package that appears two seconds after a lost answer is found by the first look, which waits for longer."""

    async def scenario(faults: Faults) -> None:
        times = {**QUICK, "RELEASE_SETTLE_SECONDS": "4"}
        async with lend_stack({"already_packaged": "lax", **faults}, **times) as stack:
            accepted = await submit_one(stack)
            request = await stack.wait_for(accepted["id"], "released", within=60.0)
            attempt = await first_attempt(stack, request)
            looks = attempt["evidence"]["looks"]
            waited = datetime.fromisoformat(looks[0]["at"]) - datetime.fromisoformat(attempt["finished_at"])

            assert [look["saw"] for look in looks] == ["found"]
            assert waited.total_seconds() >= 4
            assert len(await stack.emulator.calls()) == 1
            await assert_ledger_agrees(stack, [request])

    await try_both(scenario, seconds=2)


async def test_what_shows_between_the_two_looks_is_not_sent_again(lend_stack: LendStack) -> None:
    """The first look sees nothing, which proves nothing: the second finds the package, after the one call."""

    async def scenario(faults: Faults) -> None:
        times = {**QUICK, "RELEASE_RECHECK_SECONDS": "6"}
        async with lend_stack({"already_packaged": "lax", **faults}, **times) as stack:
            accepted = await submit_one(stack)
            request = await stack.wait_for(accepted["id"], "released", within=60.0)
            attempt = await first_attempt(stack, request)

            assert [look["saw"] for look in attempt["evidence"]["looks"]] in (["absent", "found"], ["found"])
            assert len(await stack.emulator.calls()) == 1
            await assert_ledger_agrees(stack, [request])

    await try_both(scenario, seconds=4)


async def test_what_shows_after_the_settle_time_is_left_to_an_operator_with_park(
    lend_stack: LendStack,
) -> None:
    """Two looks see nothing, so nothing more is sent: the package that comes later is the only one there ever is."""

    async def scenario(faults: Faults) -> None:
        settings = {**QUICK, "RELEASE_IN_DOUBT": "park"}
        async with lend_stack({"already_packaged": "lax", **faults}, **settings) as stack:
            accepted = await submit_one(stack)
            await stack.wait_for(accepted["id"], "needs_attention", within=60.0)
            packages = await eventually(stack.emulator.packages, within=30.0)

            assert len(packages) == 1
            assert len(await stack.emulator.calls()) == 1
            assert (await stack.show(accepted["id"]))["state"] == "needs_attention"

    await try_both(scenario, seconds=LATE_SECONDS)


async def test_what_shows_after_the_settle_time_is_found_after_the_no_of_a_strict_vendor(
    lend_stack: LendStack,
) -> None:
    """The call is made again too early and refused, since its package is there; that no is not believed too soon."""

    async def scenario(faults: Faults) -> None:
        async with lend_stack({"already_packaged": "strict", **faults}, **QUICK) as stack:
            accepted = await submit_one(stack)
            request = await stack.wait_for(accepted["id"], "released", "rejected", "failed", within=60.0)
            first, second = await stack.emulator.calls()

            assert request["state"] == "released"
            assert first["package_name"] == second["package_name"]
            await assert_ledger_agrees(stack, [request])

    await try_both(scenario, seconds=LATE_SECONDS)


async def test_what_shows_late_is_found_before_a_batch_without_tries_fails(lend_stack: LendStack) -> None:
    """With its attempts used up a batch is failed only when absence was seen for long."""

    async def scenario(faults: Faults) -> None:
        settings = {**QUICK, "RELEASE_MAX_ATTEMPTS": "1"}
        async with lend_stack({"already_packaged": "lax", **faults}, **settings) as stack:
            accepted = await submit_one(stack)
            request = await stack.wait_for(accepted["id"], "released", "failed", within=60.0)

            assert request["state"] == "released"
            assert len(await stack.emulator.calls()) == 1
            await assert_ledger_agrees(stack, [request])

    await try_both(scenario, seconds=LATE_SECONDS)
