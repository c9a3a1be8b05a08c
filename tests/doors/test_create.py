"""POST /v1/release-requests: what is accepted, and what the answer says."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.doors.conftest import StartReplica
from tests.support.api import REQUESTS, Replica
from tests.support.stack import body


async def test_an_accepted_request_is_answered_with_the_whole_resource(replica: Replica) -> None:
    """The answer is 202 with Location and Retry-After, and the resource has every member of the contract."""
    answer = await replica.post(body("26", "27"))
    shown = answer.json
    path = f"{REQUESTS}/{shown['id']}"

    assert answer.status == 202
    assert answer.headers["Location"] == path
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/json"
    assert "Idempotent-Replayed" not in answer.headers
    assert UUID(shown["id"]).version == 7
    assert abs(datetime.fromisoformat(shown["created_at"]) - datetime.now(UTC)) < timedelta(seconds=30)
    assert shown["created_at"].endswith("Z")
    assert shown == {
        "id": shown["id"],
        "state": "accepted",
        "done": False,
        "wait_reason": "window_open",
        "not_before": None,
        "project_id": "project",
        "workspace": "ws-1",
        "apply_user_id": "applicant",
        "approver_ids": ["approver-of-applicant"],
        "package_name": None,
        "priority": "normal",
        "items": [
            {
                "pending_item_id": item,
                "state": "waiting",
                "batch_id": None,
                "package_name": None,
                "release_package_id": None,
                "error": None,
            }
            for item in ("26", "27")
        ],
        "attempts": 0,
        "labels": {},
        "note": None,
        "error": None,
        "created_at": shown["created_at"],
        "updated_at": shown["created_at"],
        "finished_at": None,
        "version": 1,
        "links": {"self": path, "events": f"{path}/events", "cancel": f"{path}/cancel"},
    }


async def test_what_is_answered_is_what_is_there(replica: Replica) -> None:
    """The answer to a new request, which is written without a look, is what a look shows, whatever the texts hold."""
    odd = 'a "quoted" \\ back\tslash\nline \u2028 \u0085 {1,2} 请求 😀'
    sent = body(
        "26",
        "27",
        approver_ids=["zoe", "amy"],
        not_before="2100-01-01T00:00:00.123456Z",
        deadline="2100-01-02T00:00:00+02:00",
        labels={"team": 'bi, {"x"}', "z": ""},
        note=odd,
        package_name='mine, \\ "and" {yours}',
        priority="high",
    )
    answer = await replica.post(sent, **{"Idempotency-Key": "k, {\\}"})
    shown = await replica.get(answer.headers["Location"])

    assert answer.status == 202
    assert answer.json["note"] == odd
    assert answer.json["not_before"] == "2100-01-01T00:00:00.123456Z"
    assert shown.json == answer.json


async def test_every_member_that_was_sent_is_shown(replica: Replica) -> None:
    """What the caller said comes back as it was said, from the answer and from a later look alike."""
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    sent = {
        "project_id": "p-2",
        "workspace": "ws-2",
        "apply_user_id": "ann",
        "approver_ids": ["carl", "bob"],
        "pending_item_list": ["b", "a"],
        "package_name": "spring release 1",
        "not_before": moment.isoformat(),
        "deadline": (moment + timedelta(hours=1)).isoformat(),
        "priority": "high",
        "labels": {"team": "bi", "run": "7"},
        "note": "für morgen 🎉\nzwei Zeilen",
    }
    accepted = await replica.accept(sent)
    later = await replica.show(accepted["id"])

    same = (
        "project_id",
        "workspace",
        "apply_user_id",
        "approver_ids",
        "package_name",
        "priority",
        "labels",
        "note",
    )
    assert {name: sent[name] for name in same} == {name: accepted[name] for name in same}
    assert [item["pending_item_id"] for item in accepted["items"]] == ["b", "a"]
    assert datetime.fromisoformat(accepted["not_before"]) == moment
    assert later == accepted


async def test_a_request_is_there_at_once_on_another_replica(
    replica: Replica, other_replica: Replica
) -> None:
    """A GET of the Location on another replica right after the answer is never 404: of 1,000 requests none."""
    numbers = iter(range(1_000))

    async def caller() -> list[int]:
        statuses = []
        for number in numbers:
            answer = await replica.post(body(str(number), workspace=f"ws-{number % 20}"))
            statuses.append((await other_replica.get(answer.headers["Location"])).status)
        return statuses

    statuses = await asyncio.gather(*(caller() for _ in range(32)))

    assert [status for found in statuses for status in found] == [200] * 1_000


async def test_a_thousand_items_are_accepted(replica: Replica) -> None:
    """The largest request of the contract has all its items, in the order in which they were sent."""
    items = [f"item-{number}" for number in range(1_000)]
    accepted = await replica.accept(body(*items))
    later = await replica.show(accepted["id"])

    assert [item["pending_item_id"] for item in later["items"]] == items


async def test_a_deployment_with_defaults_fills_the_gaps(start_replica: StartReplica) -> None:
    """Project and workspace may be left out where the deployment has defaults."""
    replica = await start_replica(RELEASE_DEFAULT_WORKSPACE="ws-default")
    sent = body("1")
    del sent["workspace"]
    accepted = await replica.accept(sent)

    assert (accepted["project_id"], accepted["workspace"]) == ("project", "ws-default")


async def test_without_defaults_the_gaps_are_named(start_replica: StartReplica) -> None:
    """A deployment without defaults names both missing members."""
    replica = await start_replica(RELEASE_PROJECT_ID="")
    sent = body("1")
    del sent["workspace"]
    answer = await replica.post(sent)

    assert answer.code == "invalid-request"
    assert {error["pointer"] for error in answer.json["errors"]} == {"/project_id", "/workspace"}


async def test_a_wait_that_runs_out_is_still_accepted(replica: Replica) -> None:
    """With Prefer: wait and no worker the answer is 202 after the wait, and says which preference was applied."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer = await replica.post(body("1"), Prefer="respond-async, wait=1")

    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert 0.9 < loop.time() - started < 5.0
