"""The queue door, through a real worker: what producers put on Redis with arq, good and bad."""

import asyncio
import os
import pickle
import signal
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from arq import Retry
from arq.connections import ArqRedis
from arq.jobs import Job
from redis.asyncio import ConnectionPool

from service.doors.queue import release_request
from service.embedded.postgres import EmbeddedPostgres
from service.flow.group_commit import Acceptor
from service.flow.intake import Intake, own_windows_of
from service.flow.ring import Waker
from service.flow.waiting_room import WaitingRoom
from service.gateways.migrate import migrate
from tests.support.emulator import UNLIMITED
from tests.support.sql import count_requests, fetch_value
from tests.support.stack import Stack, body, running_stack
from tests.support.waiting import eventually
from tests.support.worker_deps import worker_deps

QUEUE = "release:requests"
#: The line of a job that goes back on the queue; the line of a commit that is tried again has more members.
PUT_BACK = r'"reason":"[^"]*","event":"accept\.retried"'


class Producer:
    """A stock arq producer that writes jobs as JSON."""

    def __init__(self, redis: ArqRedis) -> None:
        self.redis = redis

    async def enqueue(self, *arguments: object, function: str = "release_request", **options: Any) -> Job:  # noqa: ANN401 - arq's options
        """Put a job on the queue."""
        job = await self.redis.enqueue_job(function, *arguments, _queue_name=QUEUE, **options)
        assert job is not None
        return job

    async def result_of(self, *arguments: object, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - arq's options
        """Put a job on the queue and wait for its result."""
        job = await self.enqueue(*arguments, **options)
        result: dict[str, Any] = await job.result(timeout=15, poll_delay=0.02)
        return result


@pytest.fixture
async def stack(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """A worker, an HTTP process to look with, and a vendor without limits."""
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await asyncio.gather(stack.start_api(), stack.start_worker())
        yield stack


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[Producer]:
    """A producer on the Redis of the test."""
    redis = ArqRedis(
        ConnectionPool.from_url(redis_url), job_serializer=orjson.dumps, job_deserializer=orjson.loads
    )
    try:
        yield Producer(redis)
    finally:
        await redis.aclose(close_connection_pool=True)


def envelope(*items: str, key: str | None = None, **members: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {"v": 1, "idempotency_key": key, "traceparent": None, "request": body(*items), **members}


async def test_a_request_from_the_queue_is_one_like_any_other(stack: Stack, producer: Producer) -> None:
    """A good envelope results in an id and a state, and the request is released like one from HTTP."""
    result = await producer.result_of(envelope("1", "2"))
    request = await stack.wait_for(result["id"], "released")

    assert result == {"id": result["id"], "state": "accepted"}
    assert [item["pending_item_id"] for item in request["items"]] == ["1", "2"]


async def test_the_same_key_from_the_queue_and_over_http_is_one_request(
    stack: Stack, producer: Producer
) -> None:
    """Without API keys both doors share the idempotency keys; another body under the key is a problem."""
    first = await stack.submit(body("1"), **{"Idempotency-Key": "key-1"})
    await stack.wait_for(first["id"], "released")
    again = await producer.result_of(envelope("1", key="key-1"))
    other = await producer.result_of(envelope("2", key="key-1"))

    assert again == {"id": first["id"], "state": "released"}
    assert (other["problem"]["code"], other["problem"]["status"]) == ("idempotency-key-reused", 422)
    assert other["problem"]["release_request_id"] == first["id"]


async def test_a_conflict_from_the_queue_names_the_other_request(stack: Stack, producer: Producer) -> None:
    """An item that is held for others is a problem with the id of the request that holds it."""
    first = await stack.submit(body("1"))
    result = await producer.result_of(envelope() | {"request": body("1", applicant="eve")})

    assert result["problem"]["code"] == "item-conflict"
    assert result["problem"]["release_request_id"] == first["id"]


async def test_a_traceparent_from_the_queue_is_kept(stack: Stack, producer: Producer) -> None:
    """A good trace context is stored, a bad one ignored."""
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    results = [
        await producer.result_of(envelope(item, traceparent=given))
        for item, given in (("1", good), ("2", "x"))
    ]
    query = "SELECT traceparent FROM release_requests WHERE id = $1"
    stored = [await fetch_value(stack.database_url, query, result["id"]) for result in results]

    assert stored == [good, None]


def deep(levels: int) -> Any:  # noqa: ANN401 - any JSON
    return [deep(levels - 1)] if levels else []


BAD_ARGUMENTS: dict[str, tuple[tuple[object, ...], str]] = {
    "an invalid request": ((envelope(),), "invalid-request"),
    "self-approval": (
        (envelope("1") | {"request": body("1") | {"approver_ids": ["applicant"]}},),
        "invalid-request",
    ),
    "no request": (({"v": 1},), "invalid-request"),
    "another version": ((envelope("1") | {"v": 2},), "invalid-request"),
    "a version as text": ((envelope("1") | {"v": "1"},), "invalid-request"),
    "an unknown member": ((envelope("1", colour="red"),), "invalid-request"),
    "a request that is no object": ((envelope("1") | {"request": ["1"]},), "invalid-request"),
    "an empty key": ((envelope("1", key=""),), "invalid-request"),
    "a long key": ((envelope("1", key="x" * 256),), "invalid-request"),
    "a key that no header can hold": ((envelope("1", key="ü"),), "invalid-request"),
    "a NUL": ((envelope("1") | {"request": body("1", note="a\x00b")},), "malformed-json"),
    "deep nesting": ((envelope("1") | {"request": deep(40)},), "malformed-json"),
    "nesting too deep to write": ((envelope("1") | {"request": deep(200)},), "malformed-json"),
    "text": (("release this",), "invalid-request"),
    "nothing": ((None,), "invalid-request"),
    "no argument": ((), "malformed-json"),
    "two arguments": ((envelope("1"), envelope("2")), "malformed-json"),
}


async def test_what_is_wrong_with_an_envelope_is_its_result(stack: Stack, producer: Producer) -> None:
    """Each bad envelope results in a problem with a code, nothing is stored, and the worker goes on."""
    results = {name: await producer.result_of(*arguments) for name, (arguments, _) in BAD_ARGUMENTS.items()}
    named = await producer.result_of(envelope("1"), colour="red")
    good = await producer.result_of(envelope("good"))

    assert {name: result["problem"]["code"] for name, result in results.items()} == {
        name: code for name, (_, code) in BAD_ARGUMENTS.items()
    }
    assert named["problem"]["code"] == "malformed-json"
    assert all(result["problem"]["detail"] for result in results.values())
    assert await count_requests(stack.database_url) == 1
    assert good["state"] == "accepted"


class Exploit:
    """What a pickle can do to whoever reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return os.mkdir, (str(self._path),)


async def test_garbage_on_the_queue_runs_no_code_and_stops_no_worker(
    stack: Stack, producer: Producer, tmp_path: Path
) -> None:
    """Pickles, broken JSON, odd shapes, odd ids and unknown functions do nothing; the next request is accepted."""
    worker = stack.processes[-1]
    written = tmp_path / "written-by-a-pickle"
    payloads: dict[bytes, bytes] = {
        b"pickle": pickle.dumps(Exploit(written)),
        b"pickled-job": pickle.dumps(
            {"t": None, "f": "release_request", "a": (Exploit(written),), "k": {}, "et": 0}
        ),
        b"broken": b"{",
        b"empty": b"",
        b"list": b"[1, 2]",
        b"number": b"5",
        b"half": b'{"f": "release_request"}',
        b"odd": b'{"t": "x", "f": 5, "a": "abc", "k": [], "et": "y"}',
        b"infinite": b'{"t": 1, "f": "release_request", "a": [NaN], "k": {}, "et": 1}',
        b"reserved": b'{"t": 1, "f": "__class__", "a": [], "k": {}, "et": 1}',
        b"twice": orjson.dumps(
            {"t": None, "f": "release_request", "a": [envelope("twice")], "k": {}, "et": 1}
        ).replace(b'"workspace":', b'"workspace":"another","workspace":'),
    }
    for job_id, payload in payloads.items():
        await producer.redis.set(b"arq:job:" + job_id, payload)
        await producer.redis.zadd(QUEUE, {job_id: int(time.time() * 1000)})
    await producer.redis.zadd(QUEUE, {b"without-a-job": int(time.time() * 1000)})
    await producer.enqueue(function="os.system")
    good = await producer.result_of(envelope("good"))
    await eventually(lambda: is_empty(producer), within=10.0)

    assert good["state"] == "accepted"
    assert not written.exists()
    assert worker.returncode is None
    assert await count_requests(stack.database_url) == 1


async def is_empty(producer: Producer) -> bool:
    return not await producer.redis.exists(QUEUE)


async def test_a_job_that_runs_again_is_the_same_request(stack: Stack, producer: Producer) -> None:
    """A job without a key whose worker died after the commit is put back by arq, and adds nothing."""
    worker = stack.processes[-1]
    job = await producer.enqueue(envelope("1"), _job_id="job-1")
    raw = await producer.redis.get("arq:job:job-1")
    first = await job.result(timeout=15, poll_delay=0.02)
    assert raw is not None
    await producer.redis.delete("arq:result:job-1")
    await producer.redis.set("arq:job:job-1", raw)
    await producer.redis.zadd(QUEUE, {"job-1": int(time.time() * 1000)})
    again = await job.result(timeout=15, poll_delay=0.02)

    assert again["id"] == first["id"]
    assert await count_requests(stack.database_url) == 1
    assert worker.returncode is None


async def test_a_job_that_meets_an_outage_of_postgres_is_accepted_later(
    own_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path, producer: Producer
) -> None:
    """While Postgres is stopped jobs stay on the queue; when it is back each is accepted once."""
    await migrate(own_postgres.url)
    async with running_stack(
        database_url=own_postgres.url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        worker = await stack.start_worker()
        await own_postgres.stop()
        jobs = [await producer.enqueue(envelope(str(item))) for item in range(20)]
        await worker.wait_for_line(PUT_BACK)
        await own_postgres.start()
        results = await asyncio.gather(*(job.result(timeout=30, poll_delay=0.05) for job in jobs))

        assert len({result["id"] for result in results}) == 20
        assert await count_requests(own_postgres.url) == 20
        assert worker.returncode is None


async def test_a_job_that_takes_too_long_stays_on_the_queue(database_url: str, redis_url: str) -> None:
    """It is given up, as with a PostgreSQL that hangs; that is no reason to drop it."""
    async with worker_deps(database_url, redis_url, RELEASE_PROJECT_ID="p") as deps:
        waker = Waker(deps.doorbells, own_windows_of(deps))
        room = WaitingRoom(deps.database, deps.settings.caps)
        never_commits = Intake(
            acceptor=Acceptor(deps.database, waker, room, deps.metrics), waker=waker, room=room
        )
        now = datetime.now(UTC)
        ctx = {"deps": deps, "intake": never_commits, "redis": deps.redis, "job_id": "1", "enqueue_time": now}
        with pytest.raises(Retry):
            await asyncio.wait_for(release_request(ctx, envelope("1")), 0.2)


async def test_a_worker_that_is_told_to_stop_loses_no_job(stack: Stack, producer: Producer) -> None:
    """Jobs that were on the queue at SIGTERM are accepted, by this worker or by the next."""
    worker = stack.processes[-1]
    jobs = [await producer.enqueue(envelope(str(item))) for item in range(200)]
    worker.send(signal.SIGTERM)
    code = await worker.wait()
    await forget_claims(producer)
    await stack.start_worker()
    results = await asyncio.gather(*(job.result(timeout=30, poll_delay=0.05) for job in jobs))

    assert code == 0
    assert len({result["id"] for result in results}) == 200
    assert await count_requests(stack.database_url) == 200


async def forget_claims(producer: Producer) -> None:
    """Let the time pass after which arq gives the jobs of a worker that has ended to another."""
    async for key in producer.redis.scan_iter("arq:in-progress:*"):
        await producer.redis.delete(key)
