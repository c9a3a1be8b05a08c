"""Retrying: what failed or was rejected is sent again under its id, on somebody's word only."""

from typing import Any

from service.commands.keys import create_api_key, create_key
from service.core.ids import new_id
from service.core.key_orders import KeyOrder
from tests.doors.conftest import StartReplica
from tests.main_job.conftest import StackWith, assert_audit_holds
from tests.support.api import REQUESTS, Replica
from tests.support.stack import Stack, assert_ledger_agrees, body


async def retry(stack: Stack, request_id: str) -> tuple[int, dict[str, Any]]:
    async with stack.http.post(f"{stack.url}{REQUESTS}/{request_id}/retry") as response:
        return response.status, await response.json()


async def test_a_rejected_request_is_released_once_the_cause_is_gone(stack_with: StackWith) -> None:
    """Under its id, with a manual attempt, and both tries in its timeline."""
    async with stack_with({"poisoned_items": ["1"]}) as stack:
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("1"))
        rejected = await stack.wait_for(accepted["id"], "rejected")
        await stack.emulator.patch_faults({"poisoned_items": []})
        status, again = await retry(stack, accepted["id"])
        released = await stack.wait_for(accepted["id"], "released")
        batch = await stack.batch(released["items"][0]["batch_id"])
        async with stack.http.get(f"{stack.url}{REQUESTS}/{accepted['id']}/events") as response:
            events = (await response.json())["events"]

        assert (status, again["id"], again["done"], again["error"]) == (202, accepted["id"], False, None)
        assert again["version"] > rejected["version"]
        assert [attempt["manual"] for attempt in batch["attempts"]] == [True]
        assert [event["type"] for event in events if event["type"] != "request.releasing"] == [
            "request.accepted",
            "request.rejected",
            "request.retried",
            "request.released",
        ]
        assert (await retry(stack, accepted["id"]))[1]["code"] == "not-retryable"
        await assert_ledger_agrees(stack, [released])
        await assert_audit_holds(stack)


async def test_an_item_that_somebody_else_released_meanwhile_is_not_sent_again(
    stack_with: StackWith,
) -> None:
    """The retried request shares the package that is there; who was attached to it stays rejected."""
    async with stack_with({"poisoned_items": ["1"]}) as stack:
        await stack.start_api()
        first, attached = [await stack.submit(body("1")) for _ in range(2)]
        await stack.start_worker()
        await stack.wait_for(first["id"], "rejected")
        await stack.wait_for(attached["id"], "rejected")
        await stack.emulator.patch_faults({"poisoned_items": []})
        other = await stack.submit(body("1", package_name="by-another"))
        await stack.wait_for(other["id"], "released")
        status, _ = await retry(stack, first["id"])
        released = await stack.wait_for(first["id"], "released")

        assert status == 202
        assert released["items"][0]["package_name"] == "by-another"
        assert (await stack.show(attached["id"]))["state"] == "rejected"
        assert (await stack.emulator.ledger())["duplicates"] == []
        assert len((await stack.emulator.ledger())["packages"]) == 1
        await assert_audit_holds(stack)


async def test_who_was_attached_can_be_retried_alone(stack_with: StackWith) -> None:
    """Its retry does not move the request that held the item, which can then be retried too."""
    async with stack_with({"poisoned_items": ["1"]}) as stack:
        await stack.start_api()
        first, attached = [await stack.submit(body("1")) for _ in range(2)]
        await stack.start_worker()
        await stack.wait_for(first["id"], "rejected")
        await stack.wait_for(attached["id"], "rejected")
        await stack.emulator.patch_faults({"poisoned_items": []})
        assert (await retry(stack, attached["id"]))[0] == 202
        await stack.wait_for(attached["id"], "released")

        assert (await stack.show(first["id"]))["state"] == "rejected"
        assert (await retry(stack, first["id"]))[1]["state"] == "released"
        await assert_audit_holds(stack)


async def test_an_item_that_another_applicant_holds_by_now_is_a_conflict(stack_with: StackWith) -> None:
    """409 ``item-conflict`` names the other request, and nothing changes."""
    async with stack_with({"poisoned_items": ["1"]}) as stack:
        await stack.start_api()
        await stack.start_worker()
        first = await stack.submit(body("1"))
        await stack.wait_for(first["id"], "rejected")
        await stack.emulator.patch_faults({"poisoned_items": []})
        other = await stack.submit(body("1", applicant="another"))
        status, problem = await retry(stack, first["id"])

        assert (status, problem["code"], problem["release_request_id"]) == (409, "item-conflict", other["id"])
        assert (await stack.show(first["id"]))["state"] == "rejected"


async def test_a_key_for_some_applicants_retries_for_nobody_else(
    start_replica: StartReplica, database_url: str
) -> None:
    """What it may not hand in, it may not have sent again: neither one by one nor by an operation."""
    replica = await start_replica(RELEASE_AUTH="keys")
    order = KeyOrder(name="k", scopes=["submit", "operate"], workspaces=["*"], apply_user_ids=["bob"])
    bound = {"X_Auth_Token": (await create_api_key(database_url, order)).api_key}
    free = await create_key(database_url, name="k", scopes=["submit"], workspaces=["*"])
    alices = await replica.accept(body("1", applicant="alice"), X_Auth_Token=free.api_key)
    bobs = await replica.accept(body("2", applicant="bob"), X_Auth_Token=free.api_key)
    path = "{}/{}/retry"
    of_alice = await replica.send("POST", path.format(REQUESTS, alices["id"]), {}, **bound)
    of_bob = await replica.send("POST", path.format(REQUESTS, bobs["id"]), {}, **bound)
    members = {"action": "retry", "filter": {"state": "failed"}}
    operation = await replica.send("POST", "/v1/operations", members, **bound)

    assert (of_alice.status, of_alice.code) == (403, "forbidden")
    assert (of_bob.status, of_bob.code) == (409, "not-retryable")
    assert (operation.status, operation.code) == (403, "forbidden")


async def test_what_has_not_failed_is_not_retried(replica: Replica) -> None:
    """A waiting and a cancelled request are 409, an unknown one 404."""
    accepted = await replica.accept(body("1"))
    waiting = await replica.ask("POST", f"{REQUESTS}/{accepted['id']}/retry")
    await replica.ask("POST", f"{REQUESTS}/{accepted['id']}/cancel")
    cancelled = await replica.ask("POST", f"{REQUESTS}/{accepted['id']}/retry")
    unknown = await replica.ask("POST", f"{REQUESTS}/{new_id()}/retry")

    assert (waiting.status, waiting.code, waiting.json["state"]) == (409, "not-retryable", "accepted")
    assert (cancelled.status, cancelled.json["state"]) == (409, "cancelled")
    assert (unknown.status, unknown.code) == (404, "not-found")
