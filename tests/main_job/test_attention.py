"""An operator decides what nobody else can, against real processes; the audit holds after each decision."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.main_job.conftest import StackWith
from tests.main_job.test_reconcile import QUICK
from tests.support.parking import decision, resolve
from tests.support.processes import ServiceProcess, is_stopped
from tests.support.stack import Stack, assert_ledger_agrees, body, package_by_hand
from tests.support.waiting import eventually

LOST_BEFORE = {"fault": "drop_before", "count": 1, "operation": "create_package"}
LOST_AFTER = {"fault": "drop_after", "count": 1, "operation": "create_package"}
NO_LISTS = [
    {"fault": "500_before", "operation": "list_packages"},
    {"fault": "500_before", "operation": "list_pending_items"},
]
PARK = {"RELEASE_IN_DOUBT": "park", "RELEASE_RECONCILE_SECONDS": "2", **QUICK}


async def parked(stack: Stack, *items: str) -> tuple[str, str]:
    """Hand in a request whose call ends in doubt for good; return its id and that of its batch."""
    await stack.emulator.register_items("ws-1", [{"pending_item_id": item} for item in items])
    await stack.start_api()
    await stack.start_worker()
    accepted = await stack.submit(body(*items))
    request = await stack.wait_for(accepted["id"], "needs_attention")
    return accepted["id"], request["items"][0]["batch_id"]


async def attention(stack: Stack) -> list[dict[str, Any]]:
    async with stack.http.get(f"{stack.url}/v1/attention") as response:
        assert response.status == 200, await response.text()
        entries: list[dict[str, Any]] = (await response.json())["attention"]
        return entries


async def trail(stack: Stack) -> list[dict[str, Any]]:
    async with stack.http.get(f"{stack.url}/v1/audit-log?action=batch.resolved") as response:
        entries: list[dict[str, Any]] = (await response.json())["entries"]
        return entries


async def audit_with_vendor(stack: Stack) -> tuple[int, str]:
    """Run the audit with the vendor's lists, which can be read again; return its exit code and what it says."""
    await stack.emulator.clear_faults()
    process = stack.start("audit", "--vendor", "-o", "json")
    return await process.wait(), process.stdout


async def test_a_package_that_an_operator_has_found_is_the_outcome(stack_with: StackWith) -> None:
    """The lists could not be read; the operator names the package, and nothing more is sent."""
    async with stack_with({"rules": [LOST_AFTER, *NO_LISTS]}, **PARK) as stack:
        request_id, batch_id = await parked(stack, "1", "2")
        (entry,) = await attention(stack)
        (package,) = await stack.emulator.packages()
        status, batch = await resolve(
            stack.http, stack.url, batch_id, decision("released", release_package_id=package["package_id"])
        )
        request = await stack.show(request_id)

        assert entry["batch_id"] == batch_id
        assert entry["cause"] == "in-doubt"
        assert entry["evidence"]["looks"][-1]["saw"] == "unreadable"
        assert {member["release_request_id"] for member in entry["members"]} == {request_id}
        assert (status, batch["state"], batch["release_package_id"]) == (
            200,
            "released",
            package["package_id"],
        )
        assert batch["attempts"][-1]["evidence"]["resolution"]["resolved_by"] == "everybody"
        assert request["state"] == "released"
        assert await attention(stack) == []
        assert len(await stack.emulator.calls()) == 1
        assert (await audit_with_vendor(stack))[0] == 0
        await assert_ledger_agrees(stack, [request])


async def test_a_call_that_an_operator_has_made_again_is_manual(stack_with: StackWith) -> None:
    """Nothing is sent before the decision; after it the same call is made once more, and says that it is manual."""
    async with stack_with({"rules": [LOST_BEFORE]}, **PARK) as stack:
        request_id, batch_id = await parked(stack, "1")
        calls_before = await stack.emulator.calls()
        status, batch = await resolve(stack.http, stack.url, batch_id, decision("resend"))
        request = await stack.wait_for(request_id, "released")
        attempts = (await stack.batch(batch_id))["attempts"]
        calls = await stack.emulator.calls()
        (entry,) = await trail(stack)

        assert len(calls_before) == 1
        assert (status, batch["finished_at"]) == (200, None)
        assert [(one["outcome"], one["manual"]) for one in attempts] == [
            ("in_doubt", False),
            ("released", True),
        ]
        assert request["attempts"] == 2
        assert calls[0]["package_name"] == calls[1]["package_name"]
        assert (entry["target"], entry["reason"]) == (batch_id, "looked into the console")
        assert (entry["before"]["state"], entry["after"]["state"]) == ("needs_attention", "sealed")
        assert (await audit_with_vendor(stack))[0] == 0
        await assert_ledger_agrees(stack, [request])


async def test_a_resent_call_that_is_lost_again_waits_for_an_operator_again(stack_with: StackWith) -> None:
    """With park a decision is good for one call; the attempt after the next decision is manual too."""
    async with stack_with({"rules": [{**LOST_BEFORE, "count": 2}]}, **PARK) as stack:
        request_id, batch_id = await parked(stack, "1")
        await resolve(stack.http, stack.url, batch_id, decision("resend"))
        await eventually(lambda: has_calls(stack, 2), within=20.0)
        await stack.wait_for(request_id, "needs_attention")
        await resolve(stack.http, stack.url, batch_id, decision("resend"))
        await stack.wait_for(request_id, "released")
        attempts = (await stack.batch(batch_id))["attempts"]

        assert [one["manual"] for one in attempts] == [False, True, True]


async def has_calls(stack: Stack, count: int) -> bool:
    return len(await stack.emulator.calls()) >= count


async def test_items_that_an_operator_has_rejected_may_be_handed_in_again(stack_with: StackWith) -> None:
    """The request ends with the operator's words and the vendor's; the item is free, and a new request releases it."""
    async with stack_with({"rules": [{**LOST_BEFORE, "fault": "500_before"}]}, **PARK) as stack:
        request_id, batch_id = await parked(stack, "1")
        attached = await stack.submit(body("1"))
        status, _ = await resolve(stack.http, stack.url, batch_id, decision("rejected"))
        rejected, also_rejected = await stack.show(request_id), await stack.show(attached["id"])
        again = await stack.submit(body("1"))
        released = await stack.wait_for(again["id"], "released")

        assert status == 200
        assert (rejected["state"], also_rejected["state"]) == ("rejected", "rejected")
        assert rejected["error"]["code"] == "rejected-by-operator"
        assert "looked into the console" in rejected["error"]["message"]
        assert rejected["error"]["vendor"]["status"] == 500
        assert (await audit_with_vendor(stack))[0] == 0
        await assert_ledger_agrees(stack, [rejected, released])


async def test_a_package_made_by_hand_may_be_named(stack_with: StackWith) -> None:
    """Under another name and with more items than the batch; but one that is not there is a finding of the audit."""
    faults = {"rules": [LOST_BEFORE, *NO_LISTS], "authentication": "off"}
    async with stack_with(faults, **PARK) as stack:
        _, batch_id = await parked(stack, "1")
        await package_by_hand(stack, "1", "2", name="by-hand")
        (package,) = await stack.emulator.packages()
        named = decision("released", release_package_id=package["package_id"])
        status, _ = await resolve(stack.http, stack.url, batch_id, named)
        code, report = await audit_with_vendor(stack)

        assert status == 200
        assert code == 0, report


async def test_the_audit_finds_a_package_that_is_not_there(stack_with: StackWith) -> None:
    """The vendor does not list what the operator has named."""
    async with stack_with({"rules": [LOST_BEFORE]}, **PARK) as stack:
        _, batch_id = await parked(stack, "1")
        await resolve(stack.http, stack.url, batch_id, decision("released", release_package_id="999"))
        code, report = await audit_with_vendor(stack)

        assert code == 1
        assert [finding["rule"] for finding in json.loads(report)] == ["A7"]


async def test_of_several_operators_one_decides(stack_with: StackWith) -> None:
    """Ten decisions at once: one is written, the others are told that nothing is left to decide."""
    async with stack_with({"rules": [LOST_BEFORE]}, **PARK) as stack:
        request_id, batch_id = await parked(stack, "1")
        words = ["resend", "rejected"] * 5
        answers = await asyncio.gather(
            *(resolve(stack.http, stack.url, batch_id, decision(word)) for word in words)
        )
        (winner,) = [word for word, (status, _) in zip(words, answers, strict=True) if status == 200]
        others = [answer for status, answer in answers if status == 409]
        request = await stack.wait_for(request_id, "released", "rejected")

        assert [answer["code"] for answer in others] == ["not-resolvable"] * 9
        assert request["state"] == ("released" if winner == "resend" else "rejected")
        assert len(await trail(stack)) == 1
        await assert_ledger_agrees(stack, [request])


Freeze = Callable[[Stack], Awaitable[tuple[ServiceProcess, str]]]


async def frozen_after_its_answer(stack: Stack) -> tuple[ServiceProcess, str]:
    """Freeze a worker that knows that its package is made, before it writes that; returns it, and the request."""
    await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
    await stack.start_api()
    worker = await stack.start_worker(RELEASE_FAILPOINT="after_answer")
    accepted = await stack.submit(body("1"))
    await eventually(lambda: is_stopped(worker.pid), within=20.0, what="the worker at its failpoint")
    return worker, accepted["id"]


@pytest.mark.parametrize("word", ["released", "rejected"])
async def test_a_worker_that_wakes_up_after_the_decision_changes_nothing(
    stack_with: StackWith, word: str
) -> None:
    """It has the vendor's yes; the operator has decided meanwhile, rightly or not, and that stands."""
    async with stack_with({"rules": NO_LISTS}, **PARK) as stack:
        zombie, request_id = await frozen_after_its_answer(stack)
        await stack.start_worker()
        parked_request = await stack.wait_for(request_id, "needs_attention", within=40.0)
        (package,) = await stack.emulator.packages()
        members = {"release_package_id": package["package_id"]} if word == "released" else {}
        batch_id = parked_request["items"][0]["batch_id"]
        await resolve(stack.http, stack.url, batch_id, decision(word, **members))
        decided = await stack.show(request_id)
        zombie.send(signal.SIGCONT)
        await zombie.wait_for_line("outcome.fenced", within=60.0)

        assert decided["state"] == word
        assert await stack.show(request_id) == decided
        assert len(await stack.emulator.calls()) == 1


@pytest.mark.long
async def test_a_failed_request_shows_everything_and_stays(stack_with: StackWith) -> None:
    """Payload, reason, each attempt with its time and whether it was manual; no worker picks it up again."""
    faults = {"rules": [{"fault": "500_before", "operation": "create_package"}]}
    settings = {**QUICK, "RELEASE_MAX_ATTEMPTS": "2"}
    async with stack_with(faults, **settings) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("1", note="for friday", labels={"team": "bi"}))
        request = await stack.wait_for(accepted["id"], "failed", within=60.0)
        calls = len(await stack.emulator.calls())
        async with stack.http.get(f"{stack.url}/v1/release-requests/{accepted['id']}/events") as response:
            events = (await response.json())["events"]
        other = await stack.submit(body("2"))
        await stack.wait_for(other["id"], "releasing", "in_doubt", "batched", "failed")
        called_items = [call["items"] for call in await stack.emulator.calls()]

        assert (request["note"], request["labels"]) == ("for friday", {"team": "bi"})
        assert request["error"]["code"] == "attempts-used-up"
        begun = [event["detail"]["call"] for event in events if event["type"] == "request.releasing"]
        made = [event["detail"]["call"] for event in events if event["type"] == "request.in_doubt"]
        assert [(call["number"], call["manual"]) for call in begun] == [(1, False), (2, False)]
        assert [(call["number"], call["http_status"], call["manual"]) for call in made] == [
            (1, 500, False),
            (2, 500, False),
        ]
        assert all(call["started_at"].endswith("Z") and call["duration_ms"] >= 0 for call in made)
        assert all(call["vendor_request_id"] and call["error_code"] for call in made)
        assert called_items.count(["1"]) == calls == 2
