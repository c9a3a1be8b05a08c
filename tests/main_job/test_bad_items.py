"""One bad item refuses a whole batch: it is found, and the others are released without it."""

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.main_job.conftest import StackWith
from tests.support.stack import Stack, assert_ledger_agrees, body, package_by_hand
from tests.support.waiting import eventually

HUNDRED = [str(number) for number in range(1, 101)]
QUICK = {
    "RELEASE_BATCH_QUIET_SECONDS": "0.5",
    "RELEASE_CALL_TIMEOUT_SECONDS": "2",
    "RELEASE_LEASE_SECONDS": "3",
    "RELEASE_SETTLE_SECONDS": "1",
    "RELEASE_RECHECK_SECONDS": "0.5",
    "RELEASE_GRACE_SECONDS": "3",
    "RELEASE_SWEEP_SECONDS": "0.5",
}


async def start(stack: Stack, items: Sequence[str], **others: str) -> None:
    """Start the processes; the vendor lists these items as the applicant's, and the others as somebody's."""
    listed = [{"pending_item_id": item, "submit_user_id": "applicant"} for item in items]
    listed += [{"pending_item_id": item, "submit_user_id": user} for item, user in others.items()]
    await stack.emulator.register_items("ws-1", listed)
    await stack.start_api()
    await stack.start_worker()


async def submit_each(stack: Stack, items: Sequence[str]) -> list[dict[str, Any]]:
    """Hand in one request an item, so that they share a batch, and wait until all are done."""
    ids = await stack.submit_all([body(item) for item in items], connections=16)
    return await stack.wait_until_at_rest(ids)


def states_of(requests: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {item["pending_item_id"]: item["state"] for request in requests for item in request["items"]}


async def test_one_unexplained_item_of_a_hundred_costs_fifteen_calls_at_most(stack_with: StackWith) -> None:
    """Ninety-nine are released, the bad one ends in the vendor's words, within 2 ceil(log2 100) + 1 extra calls."""
    async with stack_with({"poisoned_items": ["42"]}, **QUICK) as stack:
        await start(stack, HUNDRED)
        request = await stack.submit(body(*HUNDRED))
        done = await stack.wait_for(request["id"], "partly_released", within=40.0)
        error = done["items"][41]["error"]
        calls = await stack.emulator.calls()

        assert Counter(states_of([done]).values()) == {"released": 99, "rejected": 1}
        assert (error["code"], error["vendor"]["error_code"]) == ("vendor-rejected", "DLF.3051")
        assert error["vendor"]["error_msg"] == "The request parameter is invalid."
        assert len(calls) - 1 <= 15
        await assert_ledger_agrees(stack, [done])


@pytest.mark.parametrize("explanation", ["gone", "packaged", "other submitter"])
async def test_what_the_list_explains_costs_the_resend_of_the_rest_alone(
    stack_with: StackWith, explanation: str
) -> None:
    """The vendor's list shows which item cannot be packaged: it goes out, and one call releases the others."""
    items = [str(number) for number in range(1, 11)]
    refused = {"poisoned_items": ["3"]} if explanation == "other submitter" else {"items": "listed"}
    async with stack_with({**refused, "authentication": "off"}, **QUICK) as stack:
        others = {"3": "somebody"} if explanation == "other submitter" else {}
        await start(stack, [item for item in items if item != "3"], **others)
        if explanation == "packaged":
            await stack.emulator.register_items(
                "ws-1", [{"pending_item_id": "3", "submit_user_id": "applicant"}]
            )
            await package_by_hand(stack, "3")
        before = len(await stack.emulator.calls())
        request = await stack.submit(body(*items))
        done = await stack.wait_for(request["id"], "partly_released")
        bad = done["items"][2]

        assert Counter(states_of([done]).values()) == {"released": 9, "rejected": 1}
        assert bad["state"] == "rejected"
        assert bad["error"]["message"] != bad["error"]["vendor"]["error_msg"]
        assert len(await stack.emulator.calls()) - before == 2


async def test_several_bad_items_are_found_among_many_requests(stack_with: StackWith) -> None:
    """Each request gets its own end, and suspects never share a batch with what comes later."""
    async with stack_with({"poisoned_items": ["7", "8", "30"]}, **QUICK) as stack:
        await start(stack, HUNDRED)
        requests = await submit_each(stack, HUNDRED[:40])
        fresh = await submit_each(stack, HUNDRED[40:60])
        calls = await stack.emulator.calls()
        suspects = set(HUNDRED[:40])

        assert {item for item, state in states_of(requests).items() if state == "rejected"} == {
            "7",
            "8",
            "30",
        }
        assert Counter(states_of(requests + fresh).values()) == {"released": 57, "rejected": 3}
        assert all(suspects.isdisjoint(call["items"]) or suspects.issuperset(call["items"]) for call in calls)
        await assert_ledger_agrees(stack, requests + fresh)


async def test_a_refusal_of_the_call_itself_is_not_searched_for_in_the_items(stack_with: StackWith) -> None:
    """A workspace that the vendor does not know refuses every item at once, after one call."""
    async with stack_with({"items": "listed"}, **QUICK) as stack:
        await start(stack, ["1", "2"])
        request = await stack.submit(body("1", "2", workspace="unknown"))
        done = await stack.wait_for(request["id"], "rejected")

        assert done["error"]["vendor"]["error_code"] == "DLF.20819"
        assert len(await stack.emulator.calls()) == 1


@pytest.mark.long
async def test_a_search_outlives_the_worker_that_began_it(stack_with: StackWith) -> None:
    """A worker killed in the middle of a bisection: another goes on after two long looks; every item has one end."""
    async with stack_with({"poisoned_items": ["5"], "latency_seconds": 0.2}, **QUICK) as stack:
        await start(stack, HUNDRED[:16])
        request = await stack.submit(body(*HUNDRED[:16]))

        async def is_parted() -> bool:
            return len(await stack.emulator.calls()) >= 3

        await eventually(is_parted, within=20.0)
        stack.processes[-1].send(signal.SIGKILL)
        await stack.start_worker()
        done = await stack.wait_for(request["id"], "partly_released", within=90.0)

        assert {item for item, state in states_of([done]).items() if state == "rejected"} == {"5"}
        await assert_ledger_agrees(stack, [done])


async def test_the_parts_of_a_named_batch_keep_the_name(stack_with: StackWith) -> None:
    """A name that the caller chose is the name of every package that comes of the request."""
    async with stack_with({"poisoned_items": ["3"]}, **QUICK) as stack:
        await start(stack, ["1", "2", "3", "4"])
        request = await stack.submit(body("1", "2", "3", "4", package_name="spring"))
        done = await stack.wait_for(request["id"], "partly_released", within=40.0)
        packages = await stack.emulator.packages()

        assert {item for item, state in states_of([done]).items() if state == "rejected"} == {"3"}
        assert {package["package_name"] for package in packages} == {"spring"}
        assert len(packages) == 2
        await assert_ledger_agrees(stack, [done])


async def test_without_its_list_the_batch_is_halved_all_the_same(stack_with: StackWith) -> None:
    """A vendor that refuses to list its pending items costs calls, not good items."""
    faults = {"poisoned_items": ["2"], "rules": [{"fault": "500_before", "operation": "list_pending_items"}]}
    async with stack_with(faults, **QUICK) as stack:
        await start(stack, ["1", "2", "3"])
        request = await stack.submit(body("1", "2", "3"))
        done = await stack.wait_for(request["id"], "partly_released")

        assert states_of([done]) == {"1": "released", "2": "rejected", "3": "released"}
