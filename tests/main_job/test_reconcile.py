"""Doubt is settled from the vendor's own lists, by real processes against the emulator."""

import signal
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.main_job.conftest import StackWith
from tests.support.stack import Stack, assert_ledger_agrees, body, many_bodies, package_by_hand

QUICK = {
    "RELEASE_SETTLE_SECONDS": "0.5",
    "RELEASE_RECHECK_SECONDS": "0.5",
    "RELEASE_CALL_TIMEOUT_SECONDS": "1",
    "RELEASE_LEASE_SECONDS": "2",
    "RELEASE_GRACE_SECONDS": "3",
    "RELEASE_SWEEP_SECONDS": "0.5",
}


async def start_with_items(stack: Stack, *items: str, workspace: str = "ws-1") -> None:
    """Start the processes; the vendor knows these pending items."""
    await stack.emulator.register_items(workspace, [{"pending_item_id": item} for item in items])
    await stack.start_api()
    await stack.start_worker()


async def attempts_of(stack: Stack, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    batch = await stack.batch(request["items"][0]["batch_id"])
    attempts: list[dict[str, Any]] = batch["attempts"]
    return attempts


@pytest.mark.parametrize(
    "fault", ["drop_after", "504_after", "hang_after", "garbage_200", "no_id_200", "half_answer"]
)
async def test_a_package_that_was_made_is_found(stack_with: StackWith, fault: str) -> None:
    """The request ends released with the vendor's id, after one call, and the attempt keeps what was seen."""
    async with stack_with({"rules": [{"fault": fault, "count": 1}]}, **QUICK) as stack:
        await start_with_items(stack, "1", "2")
        accepted = await stack.submit(body("1", "2"))
        request = await stack.wait_for(accepted["id"], "released")
        attempts = await attempts_of(stack, request)

        assert len(await stack.emulator.calls()) == 1
        assert [attempt["outcome"] for attempt in attempts] == ["in_doubt"]
        assert attempts[0]["evidence"]["looks"][-1]["saw"] == "found"
        await assert_ledger_agrees(stack, [request])


async def test_a_package_that_was_not_made_is_sent_again_under_its_name(stack_with: StackWith) -> None:
    """Absence is seen twice, then the same call is made once more, under the same name."""
    async with stack_with({"rules": [{"fault": "drop_before", "count": 1}]}, **QUICK) as stack:
        await start_with_items(stack, "1", "2")
        accepted = await stack.submit(body("1", "2"))
        request = await stack.wait_for(accepted["id"], "released")
        attempts = await attempts_of(stack, request)
        calls = await stack.emulator.calls()

        assert [call["executed"] for call in calls] == [False, True]
        assert calls[0]["package_name"] == calls[1]["package_name"]
        assert [attempt["outcome"] for attempt in attempts] == ["in_doubt", "released"]
        assert [look["saw"] for look in attempts[0]["evidence"]["looks"]][-2:] == ["absent", "absent"]
        assert request["attempts"] == 2
        await assert_ledger_agrees(stack, [request])


async def test_with_park_absence_is_left_to_an_operator(stack_with: StackWith) -> None:
    """Nothing is sent again; the request says that it needs attention, and why."""
    faults = {"rules": [{"fault": "drop_before", "count": 1}]}
    async with stack_with(faults, RELEASE_IN_DOUBT="park", **QUICK) as stack:
        await start_with_items(stack, "1")
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "needs_attention")

        assert len(await stack.emulator.calls()) == 1
        assert "no such package" in request["error"]["message"]
        assert request["done"] is False


async def test_a_decoy_of_the_same_name_is_not_taken_for_ours(stack_with: StackWith) -> None:
    """A package of the chosen name with other items proves nothing; after the budget an operator is asked."""
    faults = {"rules": [{"fault": "drop_before", "count": 1, "item": "1"}], "authentication": "off"}
    async with stack_with(faults, RELEASE_RECONCILE_SECONDS="2", **QUICK) as stack:
        await start_with_items(stack, "1", "9")
        await package_by_hand(stack, "9", name="spring")
        accepted = await stack.submit(body("1", package_name="spring"))
        request = await stack.wait_for(accepted["id"], "needs_attention")

        assert "has this name, but other items" in request["error"]["message"]
        assert Counter(item for call in await stack.emulator.calls() for item in call["items"])["1"] == 1


async def test_packages_of_one_request_are_no_decoys_of_each_other(stack_with: StackWith) -> None:
    """Two batches share the chosen name: the released one does not hide that the other was not made."""
    faults = {"rules": [{"fault": "drop_before", "count": 1, "item": "3"}]}
    async with stack_with(faults, RELEASE_BATCH_MAX_ITEMS="2", **QUICK) as stack:
        await start_with_items(stack, "1", "2", "3", "4")
        accepted = await stack.submit(body("1", "2", "3", "4", package_name="spring"))
        request = await stack.wait_for(accepted["id"], "released")

        assert [package["package_name"] for package in await stack.emulator.packages()] == ["spring"] * 2
        await assert_ledger_agrees(stack, [request])


async def test_a_list_that_lags_is_waited_for(stack_with: StackWith) -> None:
    """A list that lags for longer than the settle time shows absence; the no to the second call is not believed."""
    faults = {"rules": [{"fault": "drop_after", "count": 1}], "list_lag_seconds": 1.6}
    async with stack_with(faults, **QUICK) as stack:
        await start_with_items(stack, "1")
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "released")

        assert [call["status"] for call in await stack.emulator.calls()] in ([None], [None, 400])
        await assert_ledger_agrees(stack, [request])


@pytest.mark.long
async def test_a_no_that_was_meant_ends_rejected(stack_with: StackWith) -> None:
    """After a lost answer the vendor says no to the second call, and its lists show that it means it."""
    faults = {"rules": [{"fault": "drop_before", "count": 1}], "poisoned_items": ["1"]}
    async with stack_with(faults, **QUICK) as stack:
        await start_with_items(stack, "1")
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "rejected")

        assert len(await stack.emulator.calls()) == 2
        assert request["error"]["vendor"]["error_code"] == "DLF.3051"


async def test_a_last_call_that_was_not_sent_fails_nothing_before_proof(stack_with: StackWith) -> None:
    """After a lost answer the last attempt is not executed: the late list is asked once more, and has the package."""
    rules = [{"fault": "drop_after", "count": 1}, {"fault": "503_before"}]
    faults = {"rules": rules, "list_lag_seconds": 1.6}
    async with stack_with(faults, RELEASE_MAX_ATTEMPTS="2", **QUICK) as stack:
        await start_with_items(stack, "1")
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "released")

        assert [call["status"] for call in await stack.emulator.calls()] in ([None], [None, 503])
        await assert_ledger_agrees(stack, [request])


@pytest.mark.long
async def test_a_bad_item_is_found_after_a_doubt(stack_with: StackWith) -> None:
    """A lost answer, then a no that one item is to blame for: the others are released, and it is rejected."""
    faults = {"rules": [{"fault": "drop_before", "count": 1}], "poisoned_items": ["3"]}
    async with stack_with(faults, **QUICK) as stack:
        await start_with_items(stack, "1", "2", "3", "4", "5")
        accepted = await stack.submit(body("1", "2", "3", "4", "5"))
        request = await stack.wait_for(accepted["id"], "partly_released", within=60.0)
        states = {item["pending_item_id"]: item["state"] for item in request["items"]}

        assert states == {"3": "rejected"} | dict.fromkeys(("1", "2", "4", "5"), "released")
        await assert_ledger_agrees(stack, [request])


async def test_the_batch_of_a_killed_worker_is_settled(stack_with: StackWith) -> None:
    """After a kill -9 behind the effect: the lease ends, the lists are asked, and the found package is the outcome."""
    async with stack_with(**QUICK) as stack:
        await start_with_items(stack, "1")
        await stack.emulator.hold("after_apply")
        accepted = await stack.submit(body("1"))
        await stack.emulator.wait_until_held()
        stack.processes[-1].send(signal.SIGKILL)
        await stack.emulator.let_go()
        await stack.start_worker()
        request = await stack.wait_for(accepted["id"], "released")

        assert len(await stack.emulator.calls()) == 1
        await assert_ledger_agrees(stack, [request])


@pytest.mark.long
async def test_attempts_that_end_in_doubt_and_absence_are_used_up(stack_with: StackWith) -> None:
    """A vendor that fails and never acts is asked as often as allowed; then the request has failed, with its words."""
    faults = {"rules": [{"fault": "500_before"}]}
    async with stack_with(faults, RELEASE_MAX_ATTEMPTS="2", **QUICK) as stack:
        await start_with_items(stack, "1")
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "failed")

        assert len(await stack.emulator.calls()) == 2
        assert request["error"]["code"] == "attempts-used-up"
        assert request["error"]["vendor"]["status"] == 500


@pytest.mark.parametrize("already_packaged", ["strict", "lax"])
async def test_many_lost_answers_are_all_settled_and_nothing_is_doubled(
    stack_with: StackWith, already_packaged: str
) -> None:
    """With a tenth of the answers lost before and a tenth after the effect, all is released, each item once."""
    rules = [{"fault": "drop_after", "share": 0.1}, {"fault": "drop_before", "share": 0.1}]
    faults = {"latency_seconds": 0.02, "already_packaged": already_packaged, "rules": rules}
    async with stack_with(faults, RELEASE_BATCH_MAX_ITEMS="10", **QUICK) as stack:
        bodies = many_bodies(600)
        for workspace in {one["workspace"] for one in bodies}:
            items = [
                item for one in bodies if one["workspace"] == workspace for item in one["pending_item_list"]
            ]
            await stack.emulator.register_items(workspace, [{"pending_item_id": item} for item in items])
        await stack.start_api()
        await stack.start_worker()
        await stack.start_worker()
        ids = await stack.submit_all(bodies)
        requests = [await stack.wait_for(request_id, "released", within=40.0) for request_id in ids]
        faulty = Counter(call["fault"] for call in await stack.emulator.calls())

        assert faulty["drop_after"] > 0
        assert faulty["drop_before"] > 0
        await assert_ledger_agrees(stack, requests)


async def test_a_package_is_found_without_the_list_of_pending_items(stack_with: StackWith) -> None:
    """What the packages show needs no other list, however long that is."""
    async with stack_with({"rules": [{"fault": "drop_after", "count": 1}]}, **QUICK) as stack:
        await start_with_items(stack, "1")
        accepted = await stack.submit(body("1"))
        await stack.wait_for(accepted["id"], "released")

        assert await stack.emulator.calls("list_pending_items") == []


@pytest.mark.long
async def test_a_list_that_takes_longer_than_a_loan_settles_a_doubt(stack_with: StackWith) -> None:
    """With two workers and 26 pages of 0.3 s, each look is made once, by one of them, and its end is kept."""
    faults = {"rules": [{"fault": "drop_before", "count": 1}], "latency_seconds": 0.3}
    async with stack_with(faults, **QUICK) as stack:
        await start_with_items(stack, *map(str, range(2_500)))
        await stack.start_worker()
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "released", within=60.0)
        (doubt, _) = await attempts_of(stack, request)
        reads = await stack.emulator.calls("list_pending_items")

        assert [look["saw"] for look in doubt["evidence"]["looks"]] == ["absent", "absent"]
        assert len(reads) <= 2 * 26 + 1


async def test_a_workspace_with_long_lists_keeps_no_other_waiting(stack_with: StackWith) -> None:
    """One worker reads the long list of a workspace; a doubt of another one is settled meanwhile."""
    faults = {"rules": [{"fault": "drop_before", "count": 2}], "latency_seconds": 0.3}
    async with stack_with(faults, **QUICK) as stack:
        await start_with_items(stack, *map(str, range(2_500)))
        await stack.emulator.register_items("ws-2", [{"pending_item_id": "1"}])
        slow, quick = await stack.submit(body("1")), await stack.submit(body("1", workspace="ws-2"))
        await stack.wait_for(quick["id"], "released", within=10.0)

        assert (await stack.show(slow["id"]))["state"] == "in_doubt"
