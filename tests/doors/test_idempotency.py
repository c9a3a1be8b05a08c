"""Idempotency-Key: the same request again is the same request, and another one is refused."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from service.commands.keys import create_key
from tests.doors.conftest import StartReplica
from tests.support.api import Answer, Replica
from tests.support.sql import count_requests, release_all
from tests.support.stack import body
from tests.support.waiting import eventually


async def test_the_same_request_again_is_the_same_resource(replica: Replica, database_url: str) -> None:
    """A replay is answered 202 with the same id and the mark of a replay, and adds nothing."""
    first = await replica.post(body("1"), Idempotency_Key="key-1")
    again = await replica.post(body("1"), Idempotency_Key="key-1")

    assert (first.status, again.status) == (202, 202)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json == first.json
    assert await count_requests(database_url) == 1


async def test_a_replay_of_a_done_request_is_answered_200(replica: Replica, database_url: str) -> None:
    """Once the request is done, asking again gives its end with 200 and no Retry-After."""
    first = await replica.accept(body("1"), Idempotency_Key="key-1")
    await release_all(database_url)
    again = await replica.post(body("1"), Idempotency_Key="key-1")

    assert again.status == 200
    assert again.json["id"] == first["id"]
    assert again.json["state"] == "released"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Retry-After" not in again.headers


async def test_a_key_is_the_same_bare_and_quoted_and_however_the_body_is_written(replica: Replica) -> None:
    """Quotes around the key, and spaces and order in the body, make no difference."""
    first = await replica.accept(body("1"), Idempotency_Key="key 1")
    rewritten = (
        b'{ "pending_item_list":["1"], "approver_ids":["approver-of-applicant"],\n'
        b'"apply_user_id":"applicant","workspace":"ws-1","project_id":"project","note":null }'
    )
    again = await replica.accept(rewritten, Idempotency_Key='"key 1"')

    assert again["id"] == first["id"]


@pytest.mark.parametrize("key", ["a", "x" * 255, '"' + "x" * 255 + '"', "!#$%&'()*+,/:;<=>?@[]^`{|}~\\"])
async def test_keys_of_1_to_255_printable_characters_are_taken(replica: Replica, key: str) -> None:
    """Every key within the bounds works, and works again."""
    first = await replica.accept(body("1"), Idempotency_Key=key)
    again = await replica.accept(body("1"), Idempotency_Key=key)

    assert again["id"] == first["id"]


@pytest.mark.parametrize(
    "key", ["", '""', "x" * 256, '"' + "x" * 256 + '"', '"open', '"a" b', "a\tb", "schlüssel"]
)
async def test_other_keys_are_refused(replica: Replica, database_url: str, key: str) -> None:
    """A key that is empty, too long, half quoted or not printable ASCII is 400, and nothing is stored."""
    answer = await replica.post(body("1"), Idempotency_Key=key)

    assert (answer.status, answer.code) == (400, "invalid-parameter")
    assert await count_requests(database_url) == 0


async def test_two_keys_at_once_are_refused(replica: Replica) -> None:
    """Nobody can tell which of two keys counts."""
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    async with replica.session.post(
        f"{replica.url}/v1/release-requests", json=body("1"), headers=headers
    ) as response:
        problem = await response.json()

    assert (response.status, problem["code"]) == (400, "invalid-parameter")


@pytest.mark.parametrize(
    "other",
    [
        body("2"),
        body("1", workspace="ws-other"),
        body("1", note="another"),
        body(),
        {"nonsense": True},
        [],
        b"{not JSON",
    ],
    ids=["item", "workspace", "note", "invalid", "nonsense", "no object", "no JSON"],
)
async def test_another_body_under_a_used_key_is_refused(replica: Replica, other: object) -> None:
    """Whatever else comes under the key, valid or not, is 422 and names the request that has it."""
    first = await replica.accept(body("1"), Idempotency_Key="key-1")
    answer = await replica.post(other, Idempotency_Key="key-1")

    assert (answer.status, answer.code) == (422, "idempotency-key-reused")
    assert answer.json["release_request_id"] == first["id"]


async def test_a_replay_after_its_deadline_is_still_a_replay(replica: Replica) -> None:
    """A deadline is judged when the request comes first; asking again later is no error."""
    deadline = datetime.now(UTC) + timedelta(seconds=1)
    sent = body("1", deadline=deadline.isoformat())
    first = await replica.accept(sent, Idempotency_Key="key-1")
    await eventually(lambda: datetime.now(UTC) > deadline)
    too_late = await replica.post(sent)
    again = await replica.accept(sent, Idempotency_Key="key-1")

    assert (too_late.status, too_late.code) == (422, "invalid-request")
    assert again["id"] == first["id"]


async def test_a_refused_body_uses_no_key_up(replica: Replica) -> None:
    """After a 422 the corrected body goes through under the same key."""
    refused = await replica.post(body(), Idempotency_Key="key-1")
    corrected = await replica.post(body("1"), Idempotency_Key="key-1")

    assert (refused.status, corrected.status) == (422, 202)
    assert "Idempotent-Replayed" not in corrected.headers


async def test_fifty_at_once_on_two_replicas_are_one_request(
    replica: Replica, other_replica: Replica, database_url: str
) -> None:
    """Racing replays get one id, all but one of them marked as a replay, and another body is refused meanwhile."""
    same = [(replica, other_replica)[n % 2].post(body("1"), Idempotency_Key="key-1") for n in range(50)]
    others = [(replica, other_replica)[n % 2].post(body("2"), Idempotency_Key="key-2") for n in range(10)]
    reused = [other_replica.post(body("3"), Idempotency_Key="key-1") for _ in range(10)]
    answers: list[Answer] = await asyncio.gather(*same, *others, *reused)
    replays = Counter(answer.headers.get("Idempotent-Replayed") for answer in answers[:50])

    assert {answer.status for answer in answers[:60]} == {202}
    assert len({answer.json["id"] for answer in answers[:50]}) == 1
    assert replays == {None: 1, "true": 49}
    assert {answer.code for answer in answers[60:]} == {"idempotency-key-reused"}
    assert await count_requests(database_url) == 2


async def test_callers_do_not_share_keys(start_replica: StartReplica, database_url: str) -> None:
    """The same key of two API keys stands for two requests."""
    replica = await start_replica(RELEASE_AUTH="keys")
    names = ("one", "two")
    keys = [
        (await create_key(database_url, name=name, scopes=["submit"], workspaces=["*"])).api_key
        for name in names
    ]
    first, second = [
        await replica.accept(body(item), Idempotency_Key="key-1", Authorization=f"Bearer {key}")
        for item, key in zip(("1", "2"), keys, strict=True)
    ]

    assert first["id"] != second["id"]
