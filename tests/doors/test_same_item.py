"""The same pending item in two requests: shared where they want the same, refused where they do not."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.main_job.conftest import StackWith
from tests.support.api import REQUESTS, Answer, Replica
from tests.support.sql import fetch_value
from tests.support.stack import Stack, body

TWO_LIVE_HOLDERS = """
SELECT count(*) FROM (
    SELECT 1 FROM release_items
    WHERE holder_id IS NULL AND state NOT IN ('rejected', 'failed', 'cancelled', 'expired')
    GROUP BY project_id, workspace, pending_item_id HAVING count(*) > 1
) AS doubled
"""
RELEASE = """
WITH batch AS (
    INSERT INTO batches (
        id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count,
        state, release_package_id, finished_at
    )
    SELECT
        gen_random_uuid(), batch_key, project_id, workspace, apply_user_id, approver_ids, 'name', 'quiet', 1,
        'released', 'package-1', now()
    FROM release_requests WHERE id = $1
    RETURNING id
), item AS (
    UPDATE release_items SET state = 'released', batch_id = batch.id FROM batch WHERE request_id = $1
)
UPDATE release_requests SET state = 'released', finished_at = now() WHERE id = $1
"""


async def test_the_same_item_is_shared_whatever_the_order_of_approvers(
    replica: Replica, other_replica: Replica, database_url: str
) -> None:
    """A second request for an item, with the same applicant and approvers, is accepted and does not hold it."""
    first = await replica.accept(body("1") | {"approver_ids": ["x", "y"]})
    second = await other_replica.accept(body("1", "2") | {"approver_ids": ["y", "x"]})
    attached = "SELECT count(*) FROM release_items WHERE holder_id IS NOT NULL AND request_id = $1"

    assert first["id"] != second["id"]
    assert [item["state"] for item in second["items"]] == ["waiting", "waiting"]
    assert await fetch_value(database_url, attached, second["id"]) == 1
    assert await fetch_value(database_url, TWO_LIVE_HOLDERS) == 0


async def test_a_request_for_an_item_that_is_further_starts_from_there(
    replica: Replica, database_url: str
) -> None:
    """Whoever asks for an item that is already released gets its end at once."""
    first = await replica.accept(body("1"))
    await release(database_url, first["id"])
    second = await replica.accept(body("1"))

    assert (second["state"], second["done"]) == ("released", True)
    assert second["items"][0]["release_package_id"] == "package-1"


async def timeline(stack: Stack, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    async with stack.http.get(f"{stack.url}{request['links']['events']}") as response:
        answer = await response.json()
    events: list[dict[str, Any]] = answer["events"]
    return events


async def test_a_request_for_a_released_item_tells_the_call_that_released_it(stack_with: StackWith) -> None:
    """Its timeline has the attempt, though it was made before the request came."""
    async with stack_with() as stack:
        await stack.start_api()
        await stack.start_worker()
        first = await stack.wait_for((await stack.submit(body("1")))["id"], "released")
        second = await stack.submit(body("1"))
        [own] = [
            event["detail"]["call"] for event in await timeline(stack, first) if event["state"] == "released"
        ]
        [*_, last] = await timeline(stack, second)
        [call] = last["detail"]["calls"]

        assert (second["state"], last["state"], last["detail"]["attached"]) == ("released", "released", True)
        assert call == {**own, "batch_id": first["items"][0]["batch_id"]}


async def test_a_request_that_shares_an_item_says_when_its_holder_is_due(replica: Replica) -> None:
    """It waits for the time that the first request names, and its answers say so; with an item of its own it begins."""
    at = datetime.now(UTC) + timedelta(hours=1)
    await replica.accept(body("1") | {"not_before": at.isoformat()})
    second = await replica.accept(body("1"))
    third = await replica.accept(body("1", "2"))
    [listed] = (await replica.get(f"{REQUESTS}?item=2")).json["release_requests"]

    assert second["wait_reason"] == "window_open"
    assert datetime.fromisoformat(second["not_before"]) == at
    assert third["not_before"] is None
    assert listed["not_before"] is None


async def test_another_applicant_or_other_approvers_conflict(replica: Replica, database_url: str) -> None:
    """An item that is held for others is 409 and names the request that holds it; nothing is left behind."""
    first = await replica.accept(body("1"))
    others = [body("1", applicant="eve"), body("0", "1", "2") | {"approver_ids": ["other"]}]
    answers = [await replica.post(other, Idempotency_Key=f"key-{n}") for n, other in enumerate(others)]

    for answer in answers:
        assert (answer.status, answer.code) == (409, "item-conflict")
        assert answer.json["release_request_id"] == first["id"]
        assert answer.json["pending_item_id"] == "1"
        assert first["id"] in answer.json["detail"]
    for table in ("release_requests", "release_items", "request_events"):
        assert await fetch_value(database_url, f"SELECT count(*) FROM {table}") == 1  # noqa: S608 - names of ours
    retried = await replica.accept(body("0", "2") | {"approver_ids": ["other"]}, Idempotency_Key="key-1")

    assert retried["state"] == "accepted"


async def test_the_same_item_of_another_workspace_is_another_item(replica: Replica) -> None:
    """Item ids belong to their workspace."""
    await replica.accept(body("1", workspace="ws-a"))
    second = await replica.post(body("1", workspace="ws-b", applicant="eve"))

    assert second.status == 202


async def test_a_rejected_item_may_be_asked_for_anew(replica: Replica, database_url: str) -> None:
    """An item whose holder ended without a release is free again, for anybody."""
    await replica.accept(body("1"))
    await fetch_value(database_url, "UPDATE release_items SET state = 'expired'")
    again = await replica.post(body("1", applicant="eve"))

    assert again.status == 202


async def test_racing_conflicts_have_one_winner_each(
    replica: Replica, other_replica: Replica, database_url: str
) -> None:
    """Of two requests that conflict over an item on two replicas one wins, a hundred times, and none is lost."""
    sides = [(replica, "ann"), (other_replica, "bob")]
    answers: list[Answer] = await asyncio.gather(
        *(
            side.post(body(f"a{race}", f"b{race}", applicant=name))
            for race in range(100)
            for side, name in (sides if race % 2 else reversed(sides))
        )
    )
    pairs = [Counter(answer.status for answer in answers[n : n + 2]) for n in range(0, 200, 2)]
    accepted = {answer.json["id"] for answer in answers if answer.status == 202}
    refused = [answer for answer in answers if answer.status == 409]

    assert pairs == [{202: 1, 409: 1}] * 100
    assert {answer.code for answer in refused} == {"item-conflict"}
    assert {answer.json["release_request_id"] for answer in refused} == accepted
    assert await fetch_value(database_url, TWO_LIVE_HOLDERS) == 0
    assert await fetch_value(database_url, "SELECT count(*) FROM release_requests") == 100


async def test_racing_requests_that_cross_each_other_all_have_an_end(
    replica: Replica, other_replica: Replica, database_url: str
) -> None:
    """Requests for overlapping items in opposite orders never wait for each other for ever, and none is an error."""
    items = [str(number) for number in range(20)]
    answers: list[Answer] = await asyncio.gather(
        *(
            (replica, other_replica)[turn % 2].post(
                body(*(items[turn % 7 :] if turn % 2 else reversed(items[: 20 - turn % 5])))
            )
            for turn in range(100)
        )
    )
    ids = {answer.json["id"] for answer in answers}
    held = await fetch_value(database_url, "SELECT count(*) FROM release_items WHERE holder_id IS NULL")

    assert {answer.status for answer in answers} == {202}
    assert len(ids) == 100
    assert held == 20
    assert await fetch_value(database_url, TWO_LIVE_HOLDERS) == 0


async def release(database_url: str, request_id: str) -> None:
    """Let a request of one item be released, as a worker would."""
    await fetch_value(database_url, RELEASE, request_id)
