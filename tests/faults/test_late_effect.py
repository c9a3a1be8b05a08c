"""Effects and lists that come late: absence is not concluded early, and a wrong conclusion makes no second package."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from tests.faults.conftest import QUICK, StackWith
from tests.support.stack import Stack, assert_ledger_agrees, body
from tests.support.waiting import eventually

PATIENT = {**QUICK, "RELEASE_SETTLE_SECONDS": "4"}


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


@pytest.mark.parametrize(
    "fault",
    [
        {"rules": [{"fault": "late_effect", "count": 1, "seconds": 2}]},
        {"rules": [{"fault": "drop_after", "count": 1}], "list_lag_seconds": 2},
    ],
    ids=["late_effect", "list_lag"],
)
async def test_what_shows_within_the_settle_time_is_never_taken_for_absent(
    stack_with: StackWith, fault: dict[str, object]
) -> None:
    """A package that appears two seconds after a lost answer is found by the first look, which waits for that long."""
    async with stack_with({"already_packaged": "lax", **fault}, **PATIENT) as stack:
        accepted = await submit_one(stack)
        request = await stack.wait_for(accepted["id"], "released", within=60.0)
        attempt = await first_attempt(stack, request)
        looks = attempt["evidence"]["looks"]
        waited = datetime.fromisoformat(looks[0]["at"]) - datetime.fromisoformat(attempt["finished_at"])

        assert [look["saw"] for look in looks] == ["found"]
        assert waited.total_seconds() >= 4
        assert len(await stack.emulator.calls()) == 1
        await assert_ledger_agrees(stack, [request])


async def test_what_shows_between_the_two_looks_is_not_sent_again(stack_with: StackWith) -> None:
    """The first look sees nothing, which proves nothing: the second finds the package, after the one call."""
    faults = {
        "already_packaged": "lax",
        "rules": [{"fault": "drop_after", "count": 1}],
        "list_lag_seconds": 4,
    }
    times = {**QUICK, "RELEASE_RECHECK_SECONDS": "6"}
    async with stack_with(faults, **times) as stack:
        accepted = await submit_one(stack)
        request = await stack.wait_for(accepted["id"], "released", within=60.0)
        attempt = await first_attempt(stack, request)

        assert [look["saw"] for look in attempt["evidence"]["looks"]] in (["absent", "found"], ["found"])
        assert len(await stack.emulator.calls()) == 1
        await assert_ledger_agrees(stack, [request])


LATE_SECONDS = 7
LATER_THAN_SETTLE = [
    {"rules": [{"fault": "late_effect", "count": 1, "seconds": LATE_SECONDS}]},
    {"rules": [{"fault": "drop_after", "count": 1}], "list_lag_seconds": LATE_SECONDS},
]


@pytest.mark.parametrize("fault", LATER_THAN_SETTLE, ids=["late_effect", "list_lag"])
async def test_what_shows_after_the_settle_time_is_left_to_an_operator_with_park(
    stack_with: StackWith, fault: dict[str, object]
) -> None:
    """Two looks see nothing, so nothing more is sent: the package that comes later is the only one there ever is."""
    async with stack_with({"already_packaged": "lax", **fault}, **QUICK, RELEASE_IN_DOUBT="park") as stack:
        accepted = await submit_one(stack)
        await stack.wait_for(accepted["id"], "needs_attention", within=60.0)
        packages = await eventually(stack.emulator.packages, within=30.0)

        assert len(packages) == 1
        assert len(await stack.emulator.calls()) == 1
        assert (await stack.show(accepted["id"]))["state"] == "needs_attention"


@pytest.mark.parametrize("fault", LATER_THAN_SETTLE, ids=["late_effect", "list_lag"])
async def test_what_shows_after_the_settle_time_is_not_doubled_by_a_strict_vendor(
    stack_with: StackWith, fault: dict[str, object]
) -> None:
    """The call is made again too early; the vendor refuses one of the two, and there is one package."""
    async with stack_with({"already_packaged": "strict", **fault}, **QUICK) as stack:
        accepted = await submit_one(stack)
        # "rejected" is wrong where only the lists lag: the README says so.
        await stack.wait_for(accepted["id"], "released", "rejected", within=60.0)
        first, second = await stack.emulator.calls()
        await eventually(lambda: time.time() > first["at"] + LATE_SECONDS + 0.5, within=30.0)
        packages = await stack.emulator.packages()

        assert first["package_name"] == second["package_name"]
        assert [package["items"] for package in packages] == [["1"]]
