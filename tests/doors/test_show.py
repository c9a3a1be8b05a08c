"""GET of requests, timelines and batches: validators, long polls, pages."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from service.gateways.store.changes import announce
from tests.support.api import REQUESTS, Answer, Api, Replica
from tests.support.emulator import UNLIMITED
from tests.support.sql import fetch_value, release_all
from tests.support.stack import Stack, body, running_stack
from tests.support.waiting import eventually

LISTENER = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"


async def move(database_url: str, request_id: str, *, is_announced: bool = True) -> None:
    """Let a request move on by a version, as a worker does: commit, then tell."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "UPDATE release_requests SET version = version + 1, state = 'batched' WHERE id = $1", request_id
        )
        if is_announced:
            await announce(connection, [UUID(request_id)])
    finally:
        await connection.close()


async def test_an_unchanged_request_is_304_to_who_knows_it(replica: Replica) -> None:
    """The weak validator of a representation saves sending it again, in every form of RFC 9110."""
    accepted = await replica.accept(body("1"))
    path = f"{REQUESTS}/{accepted['id']}"
    first = await replica.get(path)
    etag = first.headers["ETag"]
    known = [etag, etag.removeprefix("W/"), f'"other", {etag}', f'W/"a",{etag} ,"b"', "*"]
    answers = [await replica.get(path, If_None_Match=value) for value in known]

    assert etag.startswith('W/"')
    for answer in answers:
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert answer.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("known", ['W/"other"', '"a", "b"', "", "W/", "nonsense"])
async def test_a_changed_request_is_sent_to_who_knows_another(replica: Replica, known: str) -> None:
    """A validator that is not that of the request gets the whole of it."""
    accepted = await replica.accept(body("1"))
    answer = await replica.get(f"{REQUESTS}/{accepted['id']}", If_None_Match=known)

    assert (answer.status, answer.json) == (200, accepted)


async def test_the_validator_changes_with_the_request(replica: Replica, database_url: str) -> None:
    """After a change the old validator is no longer good."""
    accepted = await replica.accept(body("1"))
    path = f"{REQUESTS}/{accepted['id']}"
    before = await replica.get(path)
    await move(database_url, accepted["id"])
    after = await replica.get(path, If_None_Match=before.headers["ETag"])

    assert after.status == 200
    assert after.headers["ETag"] != before.headers["ETag"]
    assert after.json["version"] == 2


async def waiting_poll(replica: Replica, path: str, **headers: str) -> "asyncio.Task[Answer]":
    """Start a long poll and return once the replica waits for it."""
    poll = asyncio.create_task(replica.get(path, **headers))
    await eventually(lambda: replica.deps.changes.waiting > 0 or poll.done())
    return poll


async def test_a_long_poll_returns_at_the_first_change(
    replica: Replica, other_replica: Replica, database_url: str
) -> None:
    """With wait the answer comes right after the change, on every replica, and nobody waits afterwards."""
    accepted = await replica.accept(body("1"))
    path = f"{REQUESTS}/{accepted['id']}"
    polls = [
        await waiting_poll(replica, f"{path}?wait=20"),
        await waiting_poll(other_replica, path, Prefer="wait=20"),
    ]
    started = asyncio.get_running_loop().time()
    await move(database_url, accepted["id"])
    answers = await asyncio.gather(*polls)
    took = asyncio.get_running_loop().time() - started

    assert [answer.json["version"] for answer in answers] == [2, 2]
    assert took < 0.5
    assert replica.deps.changes.waiting == 0


async def test_a_long_poll_finds_a_change_that_nobody_told(replica: Replica, database_url: str) -> None:
    """A notice that was lost costs seconds, not the whole wait."""
    accepted = await replica.accept(body("1"))
    poll = await waiting_poll(replica, f"{REQUESTS}/{accepted['id']}?wait=20")
    started = asyncio.get_running_loop().time()
    await move(database_url, accepted["id"], is_announced=False)
    answer = await poll

    assert answer.json["version"] == 2
    assert asyncio.get_running_loop().time() - started < 4.0


async def test_a_long_poll_with_a_known_representation_waits_and_is_304(
    replica: Replica, database_url: str
) -> None:
    """A validator among several lets the poll wait; when nothing changed the answer is 304."""
    accepted = await replica.accept(body("1"))
    path = f"{REQUESTS}/{accepted['id']}"
    etag = (await replica.get(path)).headers["ETag"]
    started = asyncio.get_running_loop().time()
    unchanged = await replica.get(f"{path}?wait=1", If_None_Match=f'"other", {etag}')
    took = asyncio.get_running_loop().time() - started
    await move(database_url, accepted["id"])
    changed = await replica.get(f"{path}?wait=20", If_None_Match=etag)

    assert unchanged.status == 304
    assert took > 0.9
    assert (changed.status, changed.json["version"]) == (200, 2)
    assert asyncio.get_running_loop().time() - started < 5.0


async def test_a_caller_that_goes_away_is_waited_for_no_longer(replica: Replica) -> None:
    """A poll whose connection is closed is given up within seconds, not at its end."""
    accepted = await replica.accept(body("1"))
    poll = await waiting_poll(replica, f"{REQUESTS}/{accepted['id']}?wait=30")
    poll.cancel()
    await eventually(lambda: replica.deps.changes.waiting == 0, within=4.0)

    assert poll.cancelled()


@pytest.mark.parametrize("wait", ["", "x", "-1", "1.5", "1e3", "+1", "٣", "1" * 5_000])
async def test_a_wait_that_is_no_number_is_refused(replica: Replica, wait: str) -> None:
    """A wait must be a whole number of seconds."""
    accepted = await replica.accept(body("1"))
    answer = await replica.get(f"{REQUESTS}/{accepted['id']}?wait={wait}")

    assert (answer.status, answer.code) == (400, "invalid-parameter")


async def test_a_wait_beyond_the_longest_is_cut(replica: Replica, database_url: str) -> None:
    """A preference of more than 30 seconds is taken as 30, and the answer says so."""
    accepted = await replica.accept(body("1"), Idempotency_Key="key-1")
    await release_all(database_url)
    replayed = await replica.post(
        body("1"), Idempotency_Key="key-1", Prefer='Wait = "31"; x=1, respond-async'
    )
    shown = await replica.get(f"{REQUESTS}/{accepted['id']}?wait=999999999")

    assert (replayed.status, replayed.headers["Preference-Applied"]) == (200, "wait=30")
    assert shown.json["done"]


async def test_the_end_of_the_process_ends_long_polls_with_an_answer(replica: Replica) -> None:
    """At shutdown who waits gets the state as it is, at once."""
    accepted = await replica.accept(body("1"))
    poll = await waiting_poll(replica, f"{REQUESTS}/{accepted['id']}?wait=30")
    started = asyncio.get_running_loop().time()
    await replica.app.shutdown()
    answer = await poll

    assert (answer.status, answer.json) == (200, accepted)
    assert asyncio.get_running_loop().time() - started < 2.0


async def test_the_listener_listens_again_after_its_connection_is_lost(
    replica: Replica, database_url: str
) -> None:
    """When the backend of the listener is ended, who waits looks at once, and notices come again soon."""
    accepted = await replica.accept(body("1"))
    path = f"{REQUESTS}/{accepted['id']}"
    pid = await eventually(lambda: fetch_value(database_url, LISTENER))
    await fetch_value(database_url, "SELECT pg_terminate_backend($1)", pid)
    again = await eventually(lambda: fetch_value(database_url, f"{LISTENER} AND pid <> {pid}"))
    poll = await waiting_poll(replica, f"{path}?wait=20")
    started = asyncio.get_running_loop().time()
    await move(database_url, accepted["id"])
    answer = await poll

    assert again != pid
    assert answer.json["version"] == 2
    assert asyncio.get_running_loop().time() - started < 0.5


async def test_a_timeline_is_read_page_by_page(replica: Replica, database_url: str) -> None:
    """Each event is on exactly one page, oldest first, and the last page has no token."""
    accepted = await replica.accept(body("1"))
    await add_events(database_url, accepted["id"], count=6)
    path = f"{REQUESTS}/{accepted['id']}/events"
    pages: list[list[int]] = []
    token = ""
    while not pages or token:
        answer = await replica.get(f"{path}?page_size=3&page_token={token or 0}")
        pages.append([event["seq"] for event in answer.json["events"]])
        token = answer.json["next_page_token"]
    whole = (await replica.get(f"{path}?page_size=1000")).json

    assert pages == [[1, 2, 3], [4, 5, 6], [7]]
    assert [event["seq"] for event in whole["events"]] == [1, 2, 3, 4, 5, 6, 7]
    assert whole["next_page_token"] == ""
    first = whole["events"][0]
    assert datetime.fromisoformat(first["at"])
    assert first == {
        "seq": 1,
        "at": first["at"],
        "type": "request.accepted",
        "state": "accepted",
        "batch_id": None,
        "attempt": None,
        "detail": {},
    }


async def add_events(database_url: str, request_id: str, *, count: int) -> None:
    statement = """
        INSERT INTO request_events (request_id, seq, type, state)
        SELECT $1, seq, 'request.batched', 'batched' FROM generate_series(2, $2::integer + 1) AS seq
    """
    await fetch_value(database_url, statement, request_id, count)


@pytest.mark.parametrize(
    "query",
    ["page_size=0", "page_size=-1", "page_size=x", "page_token=x", "page_token=-1", "page_token=9999999999"],
)
async def test_a_page_that_cannot_be_is_refused(replica: Replica, query: str) -> None:
    """Sizes under 1 and tokens that are none of ours are 400."""
    accepted = await replica.accept(body("1"))
    answer = await replica.get(f"{REQUESTS}/{accepted['id']}/events?{query}")

    assert (answer.status, answer.code) == (400, "invalid-parameter")


@pytest.fixture
async def stack(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """The whole service with a vendor that has no limits."""
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await stack.start_api()
        await stack.start_worker()
        yield stack


async def test_a_release_is_told_at_once_and_by_every_view_alike(stack: Stack) -> None:
    """A caller who waits has the answer within 200 ms of the release; timeline and batch tell the same story."""
    api = Api(stack.url, stack.http)
    delays = []
    for number in range(5):
        answer = await api.post(body(str(number)), Prefer="wait=20")
        finished_at = datetime.fromisoformat(answer.json["finished_at"])
        delays.append((datetime.now(UTC) - finished_at).total_seconds())
    request = answer.json
    item = request["items"][0]
    timeline = (await api.get(request["links"]["events"])).json["events"]
    batch = (await api.get(f"/v1/batches/{item['batch_id']}")).json

    assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=20")
    assert "Retry-After" not in answer.headers
    assert sorted(delays)[2] < 0.2
    assert (request["state"], request["done"], request["attempts"]) == ("released", True, 1)
    assert [event["seq"] for event in timeline] == list(range(1, request["version"] + 1))
    assert (timeline[0]["state"], timeline[-1]["state"]) == ("accepted", "released")
    assert timeline[-1]["batch_id"] == batch["id"]
    assert (batch["state"], batch["release_package_id"]) == ("released", item["release_package_id"])
    assert batch["members"] == [
        {
            "release_request_id": request["id"],
            "pending_item_id": "4",
            "state": "released",
            "attached": False,
        }
    ]
    assert [attempt["outcome"] for attempt in batch["attempts"]] == ["released"]
    assert batch["attempts"][0]["http_status"] == 200
    assert batch["attempts"][0]["vendor_request_id"]
    assert await api.show(request["id"]) == request
