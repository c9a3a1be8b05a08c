"""Caps on what waits: exact, for one workspace or for all, and nothing that was accepted is touched."""

import asyncio
from collections import Counter
from pathlib import Path

import orjson
import pytest
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool

from tests.doors.conftest import StartReplica
from tests.support.api import Answer, Replica
from tests.support.emulator import UNLIMITED
from tests.support.slow_commits import slow_down_commits
from tests.support.sql import fetch_value
from tests.support.stack import body, running_stack
from tests.support.waiting import eventually

WAITING = "SELECT count(*) FROM release_items WHERE state = 'waiting'"
MAKE_ROOM = "UPDATE release_items SET state = 'cancelled' WHERE pending_item_id = $1"
PER_WORKSPACE = "RELEASE_MAX_WAITING_PER_WORKSPACE"


@pytest.fixture
async def narrow(start_replica: StartReplica) -> Replica:
    """A replica that lets ten items wait in a workspace and thirteen in all."""
    return await start_replica(RELEASE_MAX_WAITING="13", RELEASE_MAX_WAITING_PER_WORKSPACE="10")


def assert_refused(answer: Answer, *, cap: str, limit: int) -> None:
    assert (answer.status, answer.code) == (429, "too-much-waiting")
    assert (answer.json["cap"], answer.json["limit"]) == (cap, limit)
    assert cap in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_workspace_takes_exactly_its_cap(narrow: Replica, database_url: str) -> None:
    """Of 40 requests at once ten are accepted, the others are told which cap it is and of which workspace."""
    answers = await asyncio.gather(*(narrow.post(body(str(item))) for item in range(40)))
    refused = [answer for answer in answers if answer.status != 202]

    assert Counter(answer.status for answer in answers) == {202: 10, 429: 30}
    assert await fetch_value(database_url, WAITING) == 10
    for answer in refused:
        assert_refused(answer, cap=PER_WORKSPACE, limit=10)
        assert (answer.json["project_id"], answer.json["workspace"]) == ("project", "ws-1")


async def test_two_processes_give_the_last_places_away_once(
    start_replica: StartReplica, database_url: str
) -> None:
    """However two processes share the requests, also while both write at once, ten are accepted."""
    replicas = [await start_replica(RELEASE_MAX_WAITING_PER_WORKSPACE="10") for _ in range(2)]
    await slow_down_commits(replicas[0], seconds=0.3)
    answers = await asyncio.gather(*(replicas[item % 2].post(body(str(item))) for item in range(40)))

    assert Counter(answer.status for answer in answers) == {202: 10, 429: 30}
    assert await fetch_value(database_url, WAITING) == 10


async def test_other_workspaces_have_room_until_all_is_full(narrow: Replica) -> None:
    """Beside a full workspace another is accepted, and beyond the cap of all nobody is."""
    await narrow.accept(body(*map(str, range(10))))
    full = await narrow.post(body("10"))
    elsewhere = await narrow.post(body("1", "2", "3", workspace="ws-2"))
    beyond = await narrow.post(body("1", workspace="ws-3"))

    assert_refused(full, cap=PER_WORKSPACE, limit=10)
    assert elsewhere.status == 202
    assert_refused(beyond, cap="RELEASE_MAX_WAITING", limit=13)


async def test_a_request_that_does_not_fit_leaves_the_room_to_a_smaller_one(narrow: Replica) -> None:
    """A request is accepted whole or not at all."""
    await narrow.accept(body(*map(str, range(8))))
    too_large = await narrow.post(body("8", "9", "10"))
    smaller = await narrow.post(body("8", "9"))

    assert_refused(too_large, cap=PER_WORKSPACE, limit=10)
    assert smaller.status == 202


async def test_a_known_key_is_answered_however_much_waits(narrow: Replica) -> None:
    """Whoever asks again gets the same request, and another body under the key is still 422."""
    full = body(*map(str, range(10)))
    first = await narrow.accept(full, Idempotency_Key="k1")
    again = await narrow.post(full, Idempotency_Key="k1")
    other = await narrow.post(body("99"), Idempotency_Key="k1")

    assert again.json["id"] == first["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status, other.code) == (422, "idempotency-key-reused")


async def test_items_that_left_make_room(narrow: Replica, database_url: str) -> None:
    """As soon as an item no longer waits, another may."""
    accepted = [await narrow.accept(body(str(item))) for item in range(10)]
    refused = await narrow.post(body("10"))
    await fetch_value(database_url, MAKE_ROOM, "3")
    admitted = await narrow.post(body("10"))

    assert (refused.status, admitted.status) == (429, 202)
    assert [(await narrow.show(request["id"]))["id"] for request in accepted] == [r["id"] for r in accepted]


async def test_far_below_the_caps_nothing_is_counted_on_the_way(replica: Replica, database_url: str) -> None:
    """With much room a commit asks nothing: it works even if the waiting items cannot be counted exactly."""
    await replica.intake.room.recount()
    async with replica.deps.database.connection() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(7238461058316401)")
        answers = await asyncio.gather(*(replica.post(body(str(item))) for item in range(20)))

    assert Counter(answer.status for answer in answers) == {202: 20}
    assert await fetch_value(database_url, WAITING) == 20


async def test_a_job_of_the_queue_door_waits_for_room(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """A producer's request beyond the cap stays on the queue and is accepted when there is room."""
    settings = {
        PER_WORKSPACE: "1",
        "RELEASE_BATCH_QUIET_SECONDS": "600",
        "RELEASE_BATCH_LINGER_SECONDS": "600",
    }
    redis = ArqRedis(
        ConnectionPool.from_url(redis_url), job_serializer=orjson.dumps, job_deserializer=orjson.loads
    )
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED, **settings
    ) as stack:
        worker = await stack.start_worker()
        jobs = [
            await redis.enqueue_job(
                "release_request",
                {"v": 1, "idempotency_key": f"k{items}", "request": body(*items)},
                _queue_name="release:requests",
            )
            for items in ("1", "2", "34")
        ]
        await worker.wait_for_line("envelope.postponed")
        postponed = [job for job in jobs if job is not None]
        too_large = await postponed[2].result(timeout=15, poll_delay=0.02)
        await fetch_value(database_url, "UPDATE release_items SET state = 'cancelled'")
        results = [await job.result(timeout=15, poll_delay=0.02) for job in postponed[:2]]
        await redis.aclose(close_connection_pool=True)

    assert [result["state"] for result in results] == ["accepted", "accepted"]
    assert too_large["problem"]["code"] == "too-much-waiting"
    assert await eventually(lambda: fetch_value(database_url, WAITING)) == 1
