"""Cancelling: what was not called for ends unsent, what is under way goes on, and who may do it."""

import asyncio
from typing import Any

import pytest

from service.commands.keys import create_key
from service.core.ids import new_id
from tests.doors.conftest import StartReplica
from tests.main_job.conftest import StackWith, assert_audit_holds
from tests.support.api import REQUESTS, Answer, Api, Replica
from tests.support.sql import fetch_value
from tests.support.stack import Stack, body
from tests.support.waiting import eventually

JSON = {"Content-Type": "application/json"}


async def cancel(api: Api, request_id: str, **headers: str) -> Answer:
    return await api.ask("POST", f"{REQUESTS}/{request_id}/cancel", headers=headers)


async def cancelled_by_stack(stack: Stack, request_id: str) -> tuple[int, dict[str, Any]]:
    async with stack.http.post(f"{stack.url}{REQUESTS}/{request_id}/cancel") as response:
        return response.status, await response.json()


async def test_what_waits_is_cancelled(replica: Replica) -> None:
    """The answer is the request, cancelled; asking again says the same, and nothing changes any more."""
    accepted = await replica.accept(body("1", "2"))
    first = await cancel(replica, accepted["id"])
    second = await cancel(replica, accepted["id"])

    assert (first.status, first.json["state"], first.json["done"]) == (200, "cancelled", True)
    assert [item["state"] for item in first.json["items"]] == ["cancelled", "cancelled"]
    assert second.json == first.json
    events = (await replica.get(f"{REQUESTS}/{accepted['id']}/events")).json["events"]
    assert [event["type"] for event in events] == ["request.accepted", "request.cancelled"]


async def test_the_reason_is_in_the_timeline_and_the_audit_trail(replica: Replica) -> None:
    """Who cancelled, and why, is kept in both; the trail has what was before and after."""
    accepted = await replica.accept(body("1"))
    answer = await replica.ask(
        "POST", f"{REQUESTS}/{accepted['id']}/cancel", data=b'{"reason": "ordered twice"}', headers=JSON
    )
    events = (await replica.get(f"{REQUESTS}/{accepted['id']}/events")).json["events"]
    (entry,) = (await replica.get("/v1/audit-log?action=request.cancelled")).json["entries"]

    assert events[-1]["detail"] == {"actor": "everybody", "reason": "ordered twice"}
    assert entry == {
        "at": entry["at"],
        "actor": "everybody",
        "action": "request.cancelled",
        "target": accepted["id"],
        "reason": "ordered twice",
        "before": {"state": "accepted"},
        "after": {"state": "cancelled"},
        "request_id": answer.headers["X-Request-Id"],
    }


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"[]", JSON, 422),
        (b'{"reason": ""}', JSON, 422),
        (b'{"reason": "x", "force": true}', JSON, 422),
        (b'{"reason": "x"}', {"Content-Type": "text/plain"}, 415),
    ],
)
async def test_a_bad_body_changes_nothing(
    replica: Replica, data: bytes, headers: dict[str, str], status: int
) -> None:
    """The body is checked before anything is cancelled."""
    accepted = await replica.accept(body("1"))
    answer = await replica.ask("POST", f"{REQUESTS}/{accepted['id']}/cancel", data=data, headers=headers)

    assert (answer.status, answer.code != "") == (status, True)
    assert (await replica.show(accepted["id"]))["state"] == "accepted"


async def test_the_item_of_a_cancelled_request_goes_to_who_is_attached(replica: Replica) -> None:
    """The first of the others holds it now; it can be cancelled in turn, and then the item is free."""
    first, second, third = [await replica.accept(body("1")) for _ in range(3)]
    await cancel(replica, first["id"])

    assert [(await replica.show(r["id"]))["state"] for r in (first, second, third)] == [
        "cancelled",
        "accepted",
        "accepted",
    ]
    await cancel(replica, second["id"])
    await cancel(replica, third["id"])
    assert (await replica.accept(body("1", applicant="another")))["state"] == "accepted"


async def test_a_cancelled_item_is_never_in_a_call(stack_with: StackWith) -> None:
    """Its neighbours are released without it, and a request attached to it is released in its place."""
    async with stack_with(RELEASE_BATCH_QUIET_SECONDS="1") as stack:
        await stack.start_api()
        kept, cancelled, heir = [await stack.submit(body(item)) for item in ("1", "2", "2")]
        alone = await stack.submit(body("3"))
        assert (await cancelled_by_stack(stack, cancelled["id"]))[0] == 200
        assert (await cancelled_by_stack(stack, alone["id"]))[0] == 200
        await stack.start_worker()
        await stack.wait_for(kept["id"], "released")
        await stack.wait_for(heir["id"], "released")

        assert (await stack.show(cancelled["id"]))["state"] == "cancelled"
        assert [sorted(call["items"]) for call in await stack.emulator.calls()] == [["1", "2"]]


async def test_a_call_under_way_is_not_cancelled(stack_with: StackWith) -> None:
    """During the call it is 409 ``not-cancellable``, and the request tells the truth afterwards."""
    async with stack_with({"latency_seconds": 1.5}) as stack:
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("1"))
        await stack.wait_for(accepted["id"], "releasing")
        status, problem = await cancelled_by_stack(stack, accepted["id"])
        await stack.wait_for(accepted["id"], "released")

        assert (status, problem["code"], problem["state"]) == (409, "not-cancellable", "releasing")
        assert (await cancelled_by_stack(stack, accepted["id"]))[1]["state"] == "released"


async def test_cancelling_races_with_the_worker(stack_with: StackWith) -> None:
    """Of 60 requests that are cancelled while they become due, each is either cancelled or sent, and never both."""
    async with stack_with(RELEASE_BATCH_QUIET_SECONDS="0.1", RELEASE_BATCH_MAX_ITEMS="5") as stack:
        await stack.start_api()
        await stack.start_worker()
        ids = [(await stack.submit(body(str(number))))["id"] for number in range(60)]
        answers = await asyncio.gather(*(cancelled_by_stack(stack, request_id) for request_id in ids))
        requests = await stack.wait_until_at_rest(ids)
        sent = {item for call in await stack.emulator.calls() for item in call["items"]}

        for (status, _), request in zip(answers, requests, strict=True):
            was_sent = request["items"][0]["pending_item_id"] in sent
            expected = (409, "released") if was_sent else (200, "cancelled")
            assert (status, request["state"]) == expected
        await assert_audit_holds(stack)


async def test_who_may_cancel(start_replica: StartReplica, database_url: str) -> None:
    """A submitter its own, an operator those of its workspaces, a reader none, and nobody what it may not see."""
    replica = await start_replica(RELEASE_AUTH="keys")

    async def key(*scopes: str, workspace: str = "project/ws-1") -> dict[str, str]:
        created = await create_key(database_url, name="k", scopes=scopes, workspaces=[workspace])
        return {"Authorization": f"Bearer {created.api_key}"}

    owner, other, reader = await key("submit"), await key("submit"), await key("read")
    operator, foreign = await key("operate"), await key("submit", "operate", workspace="project/ws-2")
    first, second = [await replica.accept(body(item), **owner) for item in ("1", "2")]

    async def code(headers: dict[str, str]) -> tuple[int, str]:
        answer = await cancel(replica, first["id"], **headers)
        return answer.status, "" if answer.status == 200 else answer.code

    assert await code({}) == (401, "unauthorized")
    assert await code(reader) == (403, "forbidden")
    assert await code(other) == (403, "forbidden")
    assert await code(foreign) == (404, "not-found")
    assert (await cancel(replica, str(new_id()), **foreign)).status == 404
    assert await code(owner) == (200, "")
    assert (await cancel(replica, second["id"], **operator)).status == 200


async def test_a_lost_commit_leaves_no_doubt(replica: Replica, database_url: str) -> None:
    """The trail has one entry a change, since both are one transaction."""
    accepted = await replica.accept(body("1"))
    await asyncio.gather(*(cancel(replica, accepted["id"]) for _ in range(10)))

    async def entries() -> int:
        return int(await fetch_value(database_url, "SELECT count(*) FROM audit_log"))

    assert await eventually(entries, within=5, what="an entry") == 1
