"""The HTTP door of workspaces: rows, pages, settings, actions, who may, and what the audit trail keeps."""

import itertools
import json
from typing import Any

import pytest

from service.commands.keys import create_key
from service.core.page_token import encode_page_token
from tests.doors.conftest import StartReplica
from tests.support.api import Answer, Api, Replica
from tests.support.sql import fetch_value
from tests.support.stack import body
from tests.support.waiting import eventually

WORKSPACES = "/v1/workspaces"
DEFAULTS = {"max_items": 100, "quiet_seconds": 0.2, "linger_seconds": 2.0, "rate": 0.0, "concurrency": 0}
CLOSED = {"state": "closed", "scope": None, "reason": None, "since": None, "until": None}
ADD_BREAKER = """
INSERT INTO breakers (credential, project_id, workspace, reason, changed_at, openings, until)
VALUES ('c', $1, $2, 'failures', now(), 1, now() + interval '1 minute')
"""
ADD_HOLDS = """
INSERT INTO holds SELECT DISTINCT batch_key, $1::wait_reason, now() + interval '1 minute' FROM release_items
"""


async def send(api: Api, method: str, path: str, members: object = None, **headers: str) -> Answer:
    """Send an action with a JSON body, or with none."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if members is None:
        return await api.ask(method, WORKSPACES + path, headers=named)
    content = members if isinstance(members, bytes) else json.dumps(members).encode()
    return await api.ask(
        method, WORKSPACES + path, data=content, headers={"Content-Type": "application/json", **named}
    )


async def settled(api: Api, workspace: str, **members: object) -> dict[str, Any]:
    answer = await send(api, "PUT", f"/project/{workspace}/settings", members)
    assert answer.status == 200, answer.body
    row: dict[str, Any] = answer.json
    return row


async def listed(api: Api, query: str = "", **headers: str) -> list[dict[str, Any]]:
    """Return the rows of all pages."""
    rows: list[dict[str, Any]] = []
    token = ""
    while True:
        answer = await api.get(f"{WORKSPACES}?page_token={token}&{query}".rstrip("&"), **headers)
        assert answer.status == 200, answer.body
        rows += answer.json["workspaces"]
        token = answer.json["next_page_token"]
        if not token:
            return rows


async def test_a_row_has_the_members_of_the_contract(replica: Replica) -> None:
    """A workspace with waiting items and nothing settled is as the deployment has it."""
    await replica.accept(body("1", "2", workspace="ws"))
    (row,) = await listed(replica)
    shown = await replica.get(f"{WORKSPACES}/project/ws")
    oldest = row.pop("oldest_waiting_seconds")

    assert row == {
        "project_id": "project",
        "workspace": "ws",
        "waiting": 2,
        "paused": False,
        "paused_at": None,
        "paused_reason": None,
        "settings": DEFAULTS,
        "breaker": CLOSED,
        "hold": None,
    }
    assert 0 <= oldest < 60
    assert shown.json | {"oldest_waiting_seconds": oldest} == row | {"oldest_waiting_seconds": oldest}


async def test_each_workspace_is_on_one_page_while_others_come(replica: Replica) -> None:
    """Pages are by project and name; a workspace that comes before the place reached is not shown twice."""
    for number in (1, 3, 5, 7):
        await replica.accept(body("1", workspace=f"ws-{number}"))
    first = await replica.get(f"{WORKSPACES}?page_size=2")
    await replica.accept(body("1", workspace="ws-0"))
    await replica.accept(body("1", workspace="ws-6"))
    token = first.json["next_page_token"]
    rest = await replica.get(f"{WORKSPACES}?page_size=2&page_token={token}")
    last = await replica.get(f"{WORKSPACES}?page_size=2&page_token={rest.json['next_page_token']}")

    pages = [[row["workspace"] for row in answer.json["workspaces"]] for answer in (first, rest, last)]
    assert pages == [["ws-1", "ws-3"], ["ws-5", "ws-6"], ["ws-7"]]
    assert last.json["next_page_token"] == ""


@pytest.mark.parametrize(
    "query", ["page_size=0", "page_size=x", "page_token=x", "state=paused", "page_token=WyIiXQ"]
)
async def test_a_wrong_query_is_400(replica: Replica, query: str) -> None:
    """Sizes, tokens and parameters that the list does not know are refused."""
    answer = await replica.get(f"{WORKSPACES}?{query}")

    assert (answer.status, answer.code) == (400, "invalid-parameter")


async def test_a_token_with_names_that_are_none_is_refused(replica: Replica) -> None:
    """A token is no secret; one that was made by hand says nothing to the database."""
    await replica.accept(body("1", workspace="ws-1"))
    await replica.accept(body("1", workspace="ws-2"))
    tokens = [
        encode_page_token({"": "workspaces"}, *position)
        for position in (("p",), ("p", "\x00"), ("p", "w", "x"), ("", ""))
    ]
    statuses = [(await replica.get(f"{WORKSPACES}?page_token={token}")).status for token in tokens]

    assert statuses == [400] * 4


async def test_settings_change_one_by_one_and_go_back_to_the_default(replica: Replica) -> None:
    """What is not given stays, null is the deployment's, and a restart of nothing is needed to see it."""
    first = await settled(replica, "ws", max_items=7, quiet_seconds=0, linger_seconds=90.5)
    second = await settled(replica, "ws", rate=2.5, concurrency=3, reason="slow approvers")
    third = await settled(replica, "ws", max_items=None, rate=None)
    fourth = await settled(replica, "ws")

    assert first["settings"] == DEFAULTS | {"max_items": 7, "quiet_seconds": 0.0, "linger_seconds": 90.5}
    assert second["settings"] == first["settings"] | {"rate": 2.5, "concurrency": 3}
    assert third["settings"] == second["settings"] | {"max_items": 100, "rate": 0.0}
    assert fourth["settings"] == third["settings"]


async def test_defaults_are_those_of_the_deployment(start_replica: StartReplica) -> None:
    """The effective settings of a workspace without its own are the environment's."""
    replica = await start_replica(
        RELEASE_BATCH_MAX_ITEMS="20", RELEASE_WORKSPACE_RATE="3", RELEASE_WORKSPACE_CONCURRENCY="2"
    )
    row = await settled(replica, "ws", quiet_seconds=1)

    assert row["settings"] == {
        "max_items": 20,
        "quiet_seconds": 1.0,
        "linger_seconds": 2.0,
        "rate": 3.0,
        "concurrency": 2,
    }


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"max_items": 0}, "/max_items"),
        ({"max_items": 101}, "/max_items"),
        ({"max_items": 1.5}, "/max_items"),
        ({"max_items": "7"}, "/max_items"),
        ({"max_items": True}, "/max_items"),
        ({"quiet_seconds": -1}, "/quiet_seconds"),
        ({"quiet_seconds": 604_801}, "/quiet_seconds"),
        ({"linger_seconds": "2"}, "/linger_seconds"),
        ({"rate": -0.1}, "/rate"),
        ({"rate": 1_000_001}, "/rate"),
        ({"rate": [1]}, "/rate"),
        ({"concurrency": 1_001}, "/concurrency"),
        ({"concurrency": -1}, "/concurrency"),
        ({"reason": ""}, "/reason"),
        ({"reason": "x" * 1_001}, "/reason"),
        ({"max_itmes": 1}, "/max_itmes"),
        ([], ""),
    ],
)
async def test_settings_out_of_bounds_are_named(replica: Replica, members: object, pointer: str) -> None:
    """A setting that cannot be is 422 with its place, what was expected and what was given; nothing is changed."""
    answer = await send(replica, "PUT", "/project/ws/settings", members)

    assert (answer.status, answer.code) == (422, "invalid-request")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert answer.json["errors"][0]["detail"].startswith("Expected ")
    assert await listed(replica) == []


@pytest.mark.parametrize(
    ("content", "status"), [(b"{", 400), (b'{"rate": NaN}', 400), (b'{"rate": 1, "rate": 2}', 400)]
)
async def test_what_is_not_json_is_refused(replica: Replica, content: bytes, status: int) -> None:
    """A body that can be read in two ways is not read."""
    assert (await send(replica, "PUT", "/project/ws/settings", content)).status == status


async def test_settings_need_a_body(replica: Replica) -> None:
    """To change nothing by mistake is no change."""
    answer = await send(replica, "PUT", "/project/ws/settings")

    assert (answer.status, answer.code) == (415, "unsupported-media-type")


async def test_a_pause_is_shown_everywhere_and_lifted_everywhere(
    replica: Replica, other_replica: Replica
) -> None:
    """On the row, in the list, and as the wait reason of requests, on every replica; gone with the resumption."""
    accepted = await replica.accept(body("1", workspace="ws"))
    paused = await send(replica, "POST", "/project/ws/pause", {"reason": "an upgrade"})
    newcomer = await other_replica.accept(body("2", workspace="ws"))
    waits = [await other_replica.show(request["id"]) for request in (accepted, newcomer)]
    (row,) = await listed(other_replica)
    found = await other_replica.get("/v1/release-requests?workspace=ws")
    resumed = await send(other_replica, "POST", "/project/ws/resume")
    shown = await replica.show(accepted["id"])

    assert paused.status == 200
    assert (paused.json["paused"], paused.json["paused_reason"]) == (True, "an upgrade")
    assert (row["paused"], row["hold"], row["waiting"]) == (True, {"reason": "paused", "until": None}, 2)
    assert {wait["wait_reason"] for wait in (*waits, *found.json["release_requests"])} == {"paused"}
    assert (resumed.json["paused"], resumed.json["paused_at"], resumed.json["hold"]) == (False, None, None)
    assert shown["wait_reason"] == "window_open"


async def test_what_is_accepted_says_at_once_that_its_workspace_is_paused(
    replica: Replica, other_replica: Replica
) -> None:
    """Where the pause was asked for with the next answer, elsewhere soon; one by one and together; until it ends."""
    numbers = itertools.count()

    async def told(here: Replica) -> str:
        reason: str = (await here.accept(body(str(next(numbers)), workspace="ws")))["wait_reason"]
        return reason

    async def told_together(here: Replica) -> str:
        many = {"requests": [body(str(next(numbers)), workspace="ws")]}
        answer = await here.send("POST", "/v1/release-requests:batch", many)
        reason: str = answer.json["results"][0]["release_request"]["wait_reason"]
        return reason

    async def all_are_told(reason: str) -> bool:
        return {await told(other_replica), await told_together(other_replica)} == {reason}

    before = await told(replica)
    await send(replica, "POST", "/project/ws/pause")
    paused = [await told(replica), await told_together(replica)]
    other_workspace = (await replica.accept(body("x", workspace="other")))["wait_reason"]
    await eventually(lambda: all_are_told("paused"))
    await send(replica, "POST", "/project/ws/resume")
    resumed = await told(replica)
    await eventually(lambda: all_are_told("window_open"))

    assert before == "window_open"
    assert paused == ["paused", "paused"]
    assert other_workspace == "window_open"
    assert resumed == "window_open"


async def test_a_request_with_a_time_to_come_says_which(replica: Replica) -> None:
    """The answer, its address and the list name the time beside the open window; paused, there is no such time."""
    later = "2100-01-01T00:00:00Z"
    accepted = await replica.accept(body("1", workspace="ws", not_before=later))
    shown = await replica.show(accepted["id"])
    await send(replica, "POST", "/project/ws/pause")
    paused = await replica.accept(body("2", workspace="ws", not_before=later))

    assert [(one["wait_reason"], one["not_before"]) for one in (accepted, shown)] == [
        ("window_open", later)
    ] * 2
    assert (paused["wait_reason"], paused["not_before"]) == ("paused", None)


@pytest.mark.parametrize("action", ["pause", "resume", "flush"])
async def test_an_action_twice_is_as_once(replica: Replica, action: str) -> None:
    """Each action answers 200 with the same row again, with a body or without."""
    first = await send(replica, "POST", f"/project/ws/{action}", {"reason": "first"})
    second = await send(replica, "POST", f"/project/ws/{action}")

    assert (first.status, second.status) == (200, 200)
    assert first.json == second.json


async def test_every_action_is_in_the_audit_trail(replica: Replica) -> None:
    """Who, what, why, and how it was before and after, under the id of the HTTP request."""
    await send(replica, "PUT", "/project/ws/settings", {"rate": 2, "reason": "slower"}, X_Request_Id="r-1")
    await send(replica, "POST", "/project/ws/pause", {"reason": "stop"}, X_Request_Id="r-2")
    await send(replica, "POST", "/project/ws/flush", X_Request_Id="r-3")
    await send(replica, "POST", "/project/ws/resume", X_Request_Id="r-4")
    answer = await replica.get("/v1/audit-log?target=project/ws")
    entries = list(reversed(answer.json["entries"]))
    paused = [(entry["before"]["paused"], entry["after"]["paused"]) for entry in entries]

    assert [(entry["action"], entry["reason"], entry["request_id"]) for entry in entries] == [
        ("workspace.settings_changed", "slower", "r-1"),
        ("workspace.paused", "stop", "r-2"),
        ("workspace.flushed", None, "r-3"),
        ("workspace.resumed", None, "r-4"),
    ]
    assert {entry["actor"] for entry in entries} == {"everybody"}
    assert (entries[0]["before"]["settings"]["rate"], entries[0]["after"]["settings"]["rate"]) == (None, 2.0)
    assert paused == [(False, False), (False, True), (True, True), (True, False)]
    assert entries[2]["before"]["flushed_at"] is None
    assert entries[2]["after"]["flushed_at"].endswith("Z")


async def test_scopes_and_workspaces_of_keys_hold(start_replica: StartReplica, database_url: str) -> None:
    """Reading takes read and acting takes operate, in workspaces of the key; any other is not there."""
    replica = await start_replica(RELEASE_AUTH="keys")
    reader, operator = [
        (await create_key(database_url, name=scope, scopes=[scope], workspaces=["project/mine-*"])).api_key
        for scope in ("read", "operate")
    ]
    everything = await create_key(database_url, name="all", scopes=["admin"], workspaces=["*"])
    for workspace in ("mine-1", "theirs"):
        pause = await send(replica, "POST", f"/project/{workspace}/pause", X_Auth_Token=everything.api_key)
        assert pause.status == 200
    statuses = {
        (name, method, path): (await send(replica, method, path, members, X_Auth_Token=key)).status
        for name, key in (("reader", reader), ("operator", operator))
        for method, path, members in (
            ("GET", "/project/mine-1", None),
            ("GET", "/project/theirs", None),
            ("POST", "/project/mine-1/flush", None),
            ("POST", "/project/theirs/resume", None),
            ("PUT", "/project/theirs/settings", {"rate": 1}),
            ("PUT", "/project/mine-2/settings", {"rate": 1}),
        )
    }
    seen = await listed(replica, X_Auth_Token=reader)
    unchanged = await replica.get(f"{WORKSPACES}/project/theirs", X_Auth_Token=everything.api_key)
    nobody = await replica.get(WORKSPACES)

    assert statuses == {
        ("reader", "GET", "/project/mine-1"): 200,
        ("reader", "GET", "/project/theirs"): 404,
        ("reader", "POST", "/project/mine-1/flush"): 403,
        ("reader", "POST", "/project/theirs/resume"): 403,
        ("reader", "PUT", "/project/theirs/settings"): 403,
        ("reader", "PUT", "/project/mine-2/settings"): 403,
        ("operator", "GET", "/project/mine-1"): 403,
        ("operator", "GET", "/project/theirs"): 403,
        ("operator", "POST", "/project/mine-1/flush"): 200,
        ("operator", "POST", "/project/theirs/resume"): 404,
        ("operator", "PUT", "/project/theirs/settings"): 404,
        ("operator", "PUT", "/project/mine-2/settings"): 200,
    }
    assert [row["workspace"] for row in seen] == ["mine-1", "mine-2"]
    assert (unchanged.json["paused"], unchanged.json["settings"]["rate"]) == (True, 0.0)
    assert nobody.status == 401


@pytest.mark.parametrize("place", ["project/a%20b", "project/%00", f"project/{'x' * 65}", "pro%2Fject/w"])
async def test_what_is_no_name_is_not_found(replica: Replica, place: str) -> None:
    """A path that no request could name is 404, for every method."""
    answers = [
        await send(replica, "GET", f"/{place}"),
        await send(replica, "POST", f"/{place}/pause"),
        await send(replica, "PUT", f"/{place}/settings", {"rate": 1}),
    ]

    assert {(answer.status, answer.code) for answer in answers} == {(404, "not-found")}


async def test_an_open_breaker_and_a_hold_are_shown(replica: Replica, database_url: str) -> None:
    """The breaker of the workspace, or of the credential for all, and what holds the keys back."""
    for workspace in ("ws-a", "ws-b"):
        await replica.accept(body("1", workspace=workspace))
    await fetch_value(database_url, ADD_BREAKER, "project", "ws-a")
    await fetch_value(database_url, ADD_HOLDS, "rate")
    first, second = await listed(replica)
    await fetch_value(database_url, "DELETE FROM breakers")
    await fetch_value(database_url, ADD_BREAKER, "", "")
    wide = await listed(replica)

    assert (first["breaker"]["state"], first["breaker"]["scope"]) == ("open", "workspace")
    assert first["breaker"]["reason"] == "failures"
    assert first["breaker"]["since"] < first["breaker"]["until"]
    assert second["breaker"] == CLOSED
    assert (second["hold"]["reason"], second["hold"]["until"] is None) == ("rate", False)
    assert [row["breaker"]["scope"] for row in wide] == ["credential", "credential"]
