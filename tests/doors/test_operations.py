"""Operations: what would happen is shown first, what matched is acted on once, and it can be stopped."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from service.commands.keys import create_key
from service.core.ids import new_id
from service.flow.operations import act_on_next
from tests.doors.conftest import StartReplica
from tests.main_job.conftest import StackWith
from tests.support.api import REQUESTS, Answer, Api, Replica
from tests.support.emulator import UNLIMITED
from tests.support.sql import fetch_value
from tests.support.stack import body, most_in_a_second
from tests.support.waiting import eventually

PATH = "/v1/operations"
JSON = {"Content-Type": "application/json"}


async def order(api: Api, members: Mapping[str, object], **headers: str) -> Answer:
    return await api.ask("POST", PATH, data=json.dumps(members).encode(), headers={**JSON, **headers})


async def execute(api: Api, expect: int, **members: object) -> Answer:
    return await order(api, {"execute": True, "expect": expect, "reason": "cleaning up", **members})


async def progress(api: Api, operation_id: str) -> Any:  # noqa: ANN401 - any JSON
    return (await api.get(f"{PATH}/{operation_id}")).json


async def test_a_look_changes_nothing(replica: Replica) -> None:
    """Without ``execute`` it is the count and a sample of what could be acted on, newest first."""
    accepted = [await replica.accept(body(str(n), labels={"run": "7"})) for n in range(12)]
    await replica.accept(body("other"))
    await replica.ask("POST", f"{REQUESTS}/{accepted[0]['id']}/cancel")
    answer = await order(replica, {"action": "cancel", "filter": {"label.run": "7"}})

    assert answer.status == 200
    assert answer.json["count"] == 11
    assert [row["id"] for row in answer.json["sample"]] == [row["id"] for row in accepted[:1:-1]]
    assert (await replica.show(accepted[5]["id"]))["state"] == "accepted"


async def test_what_matches_is_cancelled_once(replica: Replica, database_url: str) -> None:
    """Every request has the reason in its timeline and an entry in the trail; a second run finds nothing."""
    accepted = [await replica.accept(body(str(n), labels={"run": "7"})) for n in range(5)]
    other = await replica.accept(body("other"))
    started = await execute(replica, 5, action="cancel", filter={"label.run": "7"})
    while await act_on_next(replica.deps, replica.intake):
        pass
    states = {(await replica.show(request["id"]))["state"] for request in accepted}
    shown = await progress(replica, started.json["id"])
    again = await order(replica, {"action": "cancel", "filter": {"label.run": "7"}})

    assert (started.status, started.json["state"], started.json["total"]) == (202, "running", 5)
    assert started.headers["Location"] == f"{PATH}/{started.json['id']}"
    assert states == {"cancelled"}
    assert (shown["succeeded"], shown["skipped"]) == (5, 0)
    assert again.json["count"] == 0
    assert (await replica.show(other["id"]))["state"] == "accepted"
    assert await fetch_value(database_url, "SELECT count(*) FROM audit_log WHERE reason = 'cleaning up'") == 6


async def test_nothing_to_do_is_done_at_once(replica: Replica) -> None:
    """An empty match touches nothing."""
    answer = await execute(replica, 0, action="retry", filter={"state": "failed"})

    assert (answer.status, answer.json["state"], answer.json["total"]) == (202, "done", 0)
    assert not await act_on_next(replica.deps, replica.intake)


async def test_another_count_than_expected_is_refused(replica: Replica) -> None:
    """409 says how many match by now, and nothing happens."""
    for number in range(3):
        await replica.accept(body(str(number)))
    answer = await execute(replica, 2, action="cancel", filter={"workspace": "ws-1"})

    assert (answer.status, answer.code, answer.json["count"]) == (409, "count-changed", 3)
    assert not await act_on_next(replica.deps, replica.intake)


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({}, "/action"),
        ({"action": "delete", "filter": {"state": "failed"}}, "/action"),
        ({"action": "retry", "filter": {}}, "/filter"),
        ({"action": "retry"}, "/filter"),
        ({"action": "retry", "filter": {"colour": "red"}}, "/filter"),
        ({"action": "retry", "filter": {"state": "done"}}, "/filter"),
        ({"action": "retry", "filter": {"item": "\u0001"}}, "/filter"),
        ({"action": "retry", "filter": {"state": 1}}, "/filter/state"),
        ({"action": "retry", "filter": {"state": "failed"}, "execute": True, "reason": "x"}, "/expect"),
        ({"action": "retry", "filter": {"state": "failed"}, "execute": True, "expect": 0}, "/reason"),
        ({"action": "retry", "filter": {"state": "failed"}, "execute": "yes"}, "/execute"),
    ],
    ids=repr,
)
async def test_a_bad_order_is_refused(replica: Replica, members: dict[str, object], pointer: str) -> None:
    """422 names the member that is wrong."""
    answer = await order(replica, members)

    assert (answer.status, answer.code) == (422, "invalid-request")
    assert answer.json["errors"][0]["pointer"] == pointer


async def test_an_operation_can_be_stopped(replica: Replica) -> None:
    """What was done stays done, the rest stays as it was, and stopping it twice is 409."""
    accepted = [await replica.accept(body(str(n))) for n in range(4)]
    started = await execute(replica, 4, action="cancel", filter={"workspace": "ws-1"})
    path = f"{PATH}/{started.json['id']}"
    assert await act_on_next(replica.deps, replica.intake)
    stopped = await replica.ask("POST", f"{path}/abort", data=b'{"reason": "enough"}', headers=JSON)
    assert not await act_on_next(replica.deps, replica.intake)
    states = [(await replica.show(request["id"]))["state"] for request in accepted]
    again = await replica.ask("POST", f"{path}/abort")

    assert (stopped.status, stopped.json["state"], stopped.json["succeeded"]) == (200, "aborted", 1)
    assert sorted(states) == ["accepted", "accepted", "accepted", "cancelled"]
    assert (again.status, again.code) == (409, "not-running")


async def test_five_hundred_rejected_requests_are_retried_within_the_limit(stack_with: StackWith) -> None:
    """They leave spread over the limiter, and all are released."""
    async with stack_with(
        {"poisoned_items": [str(n) for n in range(500)], **UNLIMITED}, RELEASE_SWEEP_SECONDS="0.5"
    ) as stack:
        await stack.start_api()
        first = await stack.start_worker(RELEASE_BATCH_MAX_ITEMS="1", RELEASE_VENDOR_RATE="0")
        ids = await stack.submit_all(
            body(str(n), labels={"run": "7"}, workspace=f"ws-{n % 5}") for n in range(500)
        )
        await stack.wait_until_at_rest(ids, within=90)
        first.kill()
        await stack.emulator.patch_faults({"poisoned_items": []})
        called = len(await stack.emulator.calls())
        await stack.start_worker(RELEASE_BATCH_MAX_ITEMS="10", RELEASE_VENDOR_RATE="20")
        members = {
            "action": "retry",
            "filter": {"state": "rejected", "label.run": "7"},
            "execute": True,
            "expect": 500,
            "reason": "the vendor had forgotten them",
        }
        async with stack.http.post(f"{stack.url}{PATH}", json=members) as response:
            started = await response.json()
            assert response.status == 202, started

        async def is_done() -> bool:
            async with stack.http.get(f"{stack.url}{PATH}/{started['id']}") as response:
                return bool((await response.json())["state"] == "done")

        await eventually(is_done, within=60, what="the operation done")
        requests = await stack.wait_until_at_rest(ids, within=60)
        calls = (await stack.emulator.calls())[called:]

        assert {request["state"] for request in requests} == {"released"}
        assert most_in_a_second(calls) <= 25


async def test_an_operation_that_was_pruned_is_gone(replica: Replica) -> None:
    """Its id tells that it is older than what is kept."""
    old, new = new_id(now_ms=1_600_000_000_000), new_id()
    answers = [
        await replica.ask(method, f"{PATH}/{operation_id}{action}")
        for operation_id in (old, new)
        for method, action in (("GET", ""), ("POST", "/abort"))
    ]

    assert [(answer.status, answer.code) for answer in answers] == [(410, "gone")] * 2 + [
        (404, "not-found")
    ] * 2


async def test_who_may_order(start_replica: StartReplica, database_url: str) -> None:
    """Operators only, for their workspaces only, and nobody sees another's operation but an admin."""
    replica = await start_replica(RELEASE_AUTH="keys")

    async def key(*scopes: str, workspace: str) -> dict[str, str]:
        created = await create_key(database_url, name="k", scopes=scopes, workspaces=[workspace])
        return {"Authorization": f"Bearer {created.api_key}"}

    submitter = await key("submit", "read", workspace="*")
    mine, other = await key("operate", workspace="project/ws-1"), await key("operate", workspace="*")
    admin = await key("admin", workspace="*")
    for workspace in ("ws-1", "ws-2"):
        await replica.accept(body("1", workspace=workspace), **submitter)
    wanted: dict[str, object] = {"action": "cancel", "filter": {"item": "1"}}
    started = await order(replica, {**wanted, "execute": True, "expect": 1, "reason": "r"}, **mine)
    path = f"{PATH}/{started.json['id']}"

    assert (await order(replica, wanted, **submitter)).code == "forbidden"
    assert (await order(replica, wanted, **mine)).json["count"] == 1
    assert (await order(replica, wanted, **other)).json["count"] == 2
    assert (await replica.get(path, **mine)).status == 200
    assert (await replica.get(path, **other)).status == 404
    assert (await replica.ask("POST", f"{path}/abort", headers=other)).status == 404
    assert (await replica.get(path, **admin)).status == 200
