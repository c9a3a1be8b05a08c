"""Many release requests at once: an answer for each line, in order, and nothing new when it comes again."""

import json
from typing import Any

import pytest

from service.commands.keys import create_key
from tests.doors.conftest import StartReplica
from tests.support.api import REQUESTS, Answer, Api, Replica
from tests.support.sql import count_requests, release_all
from tests.support.stack import body

PATH = f"{REQUESTS}:batch"


async def send(api: Api, requests: Any, **headers: str) -> Answer:  # noqa: ANN401 - any JSON
    data = json.dumps({"requests": requests}).encode()
    return await api.ask("POST", PATH, data=data, headers={"Content-Type": "application/json", **headers})


async def results(api: Api, requests: Any, **headers: str) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON
    answer = await send(api, requests, **headers)
    assert answer.status == 200, answer.body
    shown: list[dict[str, Any]] = answer.json["results"]
    return shown


async def test_a_thousand_lines_are_accepted_once(replica: Replica, database_url: str) -> None:
    """Each line has its own request, in order; the same lines again are replays, and create nothing."""
    lines = [body(str(n), workspace=f"ws-{n % 7}", idempotency_key=f"line-{n}") for n in range(1_000)]
    first = await results(replica, lines)
    again = await results(replica, lines)

    assert [result["status"] for result in first] == [202] * 1_000
    assert [r["release_request"]["items"][0]["pending_item_id"] for r in first] == [
        str(n) for n in range(1_000)
    ]
    assert [r["release_request"]["id"] for r in again] == [r["release_request"]["id"] for r in first]
    assert {(r["status"], r["replayed"]) for r in again} == {(202, True)}
    assert await count_requests(database_url) == 1_000


async def test_each_line_has_its_own_answer(replica: Replica, database_url: str) -> None:
    """Accepted, duplicate, reused key, conflict and invalid lines stand beside each other, in their order."""
    held = await replica.accept(body("held"))
    lines: list[Any] = [
        body("1", idempotency_key="one"),
        body("1", idempotency_key="one"),
        body("2", idempotency_key="one"),
        body("held"),
        body("held", applicant="another"),
        body(),
        body("3", colour="red"),
        body("4", idempotency_key=""),
        body("5", idempotency_key=7),
        "a text",
        None,
        body("6", note=10**30),
        body("7"),
    ]
    given = await results(replica, lines)
    problems = [result.get("problem", {}) for result in given]

    assert [result["status"] for result in given] == [
        202, 202, 422, 202, 409, 422, 422, 422, 422, 422, 422, 422, 202,
    ]  # fmt: skip
    assert given[0]["release_request"]["id"] == given[1]["release_request"]["id"]
    assert [given[0]["replayed"], given[1]["replayed"]] == [False, True]
    assert (problems[2]["code"], problems[4]["code"]) == ("idempotency-key-reused", "item-conflict")
    assert problems[4]["release_request_id"] == held["id"]
    assert [problem["errors"][0]["pointer"] for problem in problems[5:12]] == [
        "/pending_item_list",
        "/colour",
        "/idempotency_key",
        "/idempotency_key",
        "",
        "",
        "/note",
    ]
    assert await count_requests(database_url) == 4


async def test_the_replay_of_what_is_done_is_200(replica: Replica, database_url: str) -> None:
    """A line has the status that it would have had alone."""
    lines = [body("1", idempotency_key="one"), body("2")]
    await results(replica, lines)
    await release_all(database_url)
    again = await results(replica, lines)

    assert [(result["status"], result["replayed"]) for result in again] == [(200, True), (202, False)]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"{", 400, "malformed-json"),
        (b'{"requests": [], "requests": []}', 400, "malformed-json"),
        (b"[]", 422, "invalid-request"),
        (b"{}", 422, "invalid-request"),
        (b'{"requests": []}', 422, "invalid-request"),
        (b'{"requests": {}}', 422, "invalid-request"),
        (b'{"requests": [1], "more": 1}', 422, "invalid-request"),
        (json.dumps({"requests": [1] * 1_001}).encode(), 422, "invalid-request"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_no_batch_is_refused_whole(
    replica: Replica, data: bytes, status: int, code: str
) -> None:
    """Nothing of it is accepted."""
    answer = await replica.ask("POST", PATH, data=data, headers={"Content-Type": "application/json"})

    assert (answer.status, answer.code) == (status, code)


async def test_a_key_hands_in_for_its_workspaces_only(start_replica: StartReplica, database_url: str) -> None:
    """A line of another workspace is 403, its neighbours are accepted."""
    replica = await start_replica(RELEASE_AUTH="keys")
    key = await create_key(database_url, name="k", scopes=["submit"], workspaces=["project/ws-1"])
    given = await results(
        replica,
        [body("1"), body("2", workspace="ws-2"), body("3")],
        Authorization=f"Bearer {key.api_key}",
    )

    assert [result["status"] for result in given] == [202, 403, 202]
    assert (await send(replica, [body("1")])).status == 401
