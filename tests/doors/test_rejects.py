"""What comes through the queue and is no release request is listed, once, for those who may see it."""

import asyncio
import base64
import pickle
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from arq.connections import ArqRedis

from service.commands.keys import create_key
from service.core.ids import new_id
from service.core.rejects import MOST_BYTES, Reject, digest_of_entry
from service.embedded.postgres import EmbeddedPostgres
from service.gateways.migrate import migrate
from service.gateways.queue import open_redis
from service.gateways.store import rejects
from tests.doors.conftest import StartReplica
from tests.support.api import Api
from tests.support.emulator import UNLIMITED
from tests.support.sql import fetch_value
from tests.support.stack import Stack, body, running_stack
from tests.support.waiting import eventually

QUEUE = "release:requests"
COUNT = "SELECT count(*) FROM rejects"


@pytest.fixture
async def stack(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """A worker and an HTTP process to look with."""
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await asyncio.gather(stack.start_api(), stack.start_worker())
        yield stack


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    """The Redis of the test."""
    client = open_redis(redis_url, max_connections=4, retries=1)
    try:
        yield client
    finally:
        await client.aclose()


async def put(redis: ArqRedis, job_id: bytes, payload: bytes | None) -> None:
    """Put an entry on the queue, with what lies under its id."""
    if payload is not None:
        await redis.set(b"arq:job:" + job_id, payload)
    await redis.zadd(QUEUE, {job_id: int(time.time() * 1000)})


async def listed(stack: Stack, *, count: int, within: float = 15.0) -> list[dict[str, Any]]:
    """Wait until so many entries are listed and the queue is empty, and return them."""

    async def all_there() -> list[dict[str, Any]]:
        async with stack.http.get(f"{stack.url}/v1/rejects?page_size=200") as response:
            assert response.status == 200, await response.text()
            rows: list[dict[str, Any]] = (await response.json())["rejects"]
            return rows if len(rows) >= count else []

    found: list[dict[str, Any]] = await eventually(all_there, within=within, what=f"{count} rejects") or []
    assert len(found) == count, found
    return found


def job(function: str, *arguments: object, tries: int | None = None) -> bytes:
    return orjson.dumps({"t": tries, "f": function, "a": arguments, "k": {}, "et": 1})


class Exploit:
    """What would run code in whoever reads its pickle."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit",)


STRANGERS: Mapping[bytes, tuple[bytes | None, str]] = {
    b"\xff\xfeid": (b"{}", "bad-id"),
    b"pickle": (pickle.dumps(Exploit()), "not-a-job"),
    b"broken": (b"{", "not-a-job"),
    b"empty-object": (b"{}", "not-a-job"),
    b"a-list": (b"[1, 2]", "not-a-job"),
    b"\x1b[31m": (b'{"colour": "red\\u0000"}', "not-a-job"),
    b"unknown": (job("os.system", "true"), "unknown-function"),
    b"reserved": (job("__class__"), "unknown-function"),
    b"nothing": (None, "job-expired"),
    b"tired": (job("release_request", {}, tries=10**9), "tries-used-up"),
}


async def test_every_stranger_is_listed_once_with_what_was_wrong(stack: Stack, redis: ArqRedis) -> None:
    """Ids of any bytes, pickles, other shapes and functions: each has its code, and its bytes can be read again."""
    for job_id, (payload, _) in STRANGERS.items():
        await put(redis, job_id, payload)
    await redis.execute_command("HSET", "arq:job:hash", "not", "a job")  # type: ignore[no-untyped-call]
    await put(redis, b"hash", None)
    found = {row["job_id"]: row for row in await listed(stack, count=len(STRANGERS) + 1)}
    await eventually(lambda: is_empty(redis), within=10.0, what="an empty queue")

    assert {name: row["code"] for name, row in found.items()} == {
        "\\xff\\xfeid": "bad-id",
        "\\x1b[31m": "not-a-job",
        "hash": "not-a-job",
        **{
            job_id.decode(): code
            for job_id, (_, code) in STRANGERS.items()
            if job_id.isalpha() or b"-" in job_id
        },
    }
    for job_id, (payload, _) in STRANGERS.items():
        row = found[job_id.decode("utf-8", "backslashreplace").replace("\x1b", "\\x1b")]
        assert bytes_of(row) == payload
        assert row["payload_bytes"] == (None if payload is None else len(payload))
        assert row["problem"]["code"] == "strange-entry"
        assert row["problem"]["detail"].startswith("Expected ")
        assert (row["source"], row["queue"]) == ("queue", QUEUE)
        assert (row["project_id"], row["workspace"]) == (None, None)


async def is_empty(redis: ArqRedis) -> bool:
    return not await redis.exists(QUEUE)


def bytes_of(row: Mapping[str, Any]) -> bytes | None:
    """Return what came, as the row shows it."""
    match row["payload_encoding"]:
        case None:
            return None
        case "text":
            return str(row["payload"]).encode()
        case _:
            return base64.b64decode(row["payload"])


async def test_an_invalid_request_is_listed_with_its_problem_and_place(stack: Stack, redis: ArqRedis) -> None:
    """Its job's result has the problem too; arq may run it again, and it is there once."""
    envelope = {"v": 1, "idempotency_key": None, "request": body("a b", workspace="w")}
    for _ in range(2):
        await redis.delete("arq:result:same")
        await put(redis, b"same", job("release_request", envelope))
        await eventually(lambda: redis.exists("arq:result:same"), within=10.0, what="a result")
    (row,) = await listed(stack, count=1)

    assert row["job_id"] == "same"
    assert row["code"] == "invalid-request"
    assert row["problem"]["errors"][0]["pointer"] == "/pending_item_list/0"
    assert (row["project_id"], row["workspace"]) == (stack.environment["RELEASE_PROJECT_ID"], "w")
    assert '"a b"' in row["payload"]


async def test_of_a_large_entry_the_beginning_is_kept(stack: Stack, redis: ArqRedis) -> None:
    """Of the payload 4 KiB, and of a thousand errors the first twenty; the sizes are told."""
    text = ("ü" * 400_000).encode()
    request = body(*(f"bad item {number}" for number in range(1_000)))
    await put(redis, b"large", b"x" + text)
    await put(redis, b"wrong", job("release_request", {"v": 1, "request": request}))
    found = {row["job_id"]: row for row in await listed(stack, count=2)}

    assert found["large"]["payload_bytes"] == len(text) + 1
    assert found["large"]["payload"] == "x" + "ü" * ((MOST_BYTES - 1) // 2)
    assert len(found["wrong"]["problem"]["errors"]) == 20
    assert found["wrong"]["problem"]["detail"].startswith("1000 things")
    assert len(found["wrong"]["payload"]) == MOST_BYTES


async def test_what_cannot_be_listed_stays_on_the_queue(
    own_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path, redis: ArqRedis
) -> None:
    """While Postgres is stopped nothing that is refused is dropped; when it is back, all is listed."""
    await migrate(own_postgres.url)
    async with running_stack(
        database_url=own_postgres.url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        _, worker = await asyncio.gather(stack.start_api(), stack.start_worker())
        await own_postgres.stop()
        entries = {
            b"\xff": b"x",
            b"broken": b"{",
            b"nothing": None,
            b"invalid": job("release_request", {"v": 1, "request": {}}),
        }
        for job_id, payload in entries.items():
            await put(redis, job_id, payload)
        for _ in entries:
            await worker.wait_for_line(r'"event":"accept\.retried"')
        waiting = await redis.zcard(QUEUE)
        await own_postgres.start()
        found = await listed(stack, count=4, within=40.0)
        await eventually(lambda: is_empty(redis), within=10.0, what="an empty queue")

        assert waiting == 4
        assert {row["code"] for row in found} == {"bad-id", "not-a-job", "job-expired", "invalid-request"}
        assert worker.returncode is None


def a_reject(number: int, *, place: tuple[str, str] | None = None) -> Reject:
    return Reject(
        reject_id=new_id(now_ms=int(time.time() * 1000) + number),
        queue=QUEUE,
        job_id=str(number),
        digest=digest_of_entry(QUEUE, b"id", str(number).encode()),
        code="not-a-job",
        problem={"code": "not-a-job"},
        payload=b"x",
        payload_bytes=1,
        place=place,
    )


async def insert(database_url: str, *given: Reject) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda _value: "{}", decoder=str, format="text"
    )
    try:
        for reject in given:
            await rejects.insert_reject(connection, reject)
    finally:
        await connection.close()


async def test_the_list_is_bounded(database_url: str) -> None:
    """The sweep leaves the newest, and none that is old."""
    await insert(database_url, *(a_reject(number) for number in range(50)))
    await fetch_value(database_url, "UPDATE rejects SET at = now() - interval '31 days' WHERE job_id = '49'")
    connection = await asyncpg.connect(database_url)
    try:
        for keep in (100, 10):
            await rejects.forget_rejects(connection, keep=keep, kept_for=timedelta(days=30))
        left = await connection.fetch("SELECT job_id FROM rejects ORDER BY id")
    finally:
        await connection.close()

    assert [int(row["job_id"]) for row in left] == list(range(39, 49))


async def all_seen(api: Api, key: str) -> list[str]:
    """Follow the list to its end, two rows a page."""
    seen: list[str] = []
    token = ""
    while True:
        answer = await api.get(f"/v1/rejects?page_size=2&page_token={token}", X_Auth_Token=key)
        assert answer.status == 200, answer.body
        seen += [row["job_id"] for row in answer.json["rejects"]]
        token = answer.json["next_page_token"]
        if not token:
            return seen


async def test_who_sees_what_was_refused(start_replica: StartReplica, database_url: str) -> None:
    """Readers what is of their workspaces; what names none, only operators and admins of all workspaces."""
    guarded = await start_replica(RELEASE_AUTH="keys")
    await insert(
        database_url,
        *(a_reject(number, place=("p", f"w{number % 2}")) for number in range(6)),
        a_reject(6),
        a_reject(7),
    )
    expected = {
        ("read", "p/w0"): ["4", "2", "0"],
        ("read", "*"): ["5", "4", "3", "2", "1", "0"],
        ("read operate", "p/*"): ["5", "4", "3", "2", "1", "0"],
        ("read operate", "*"): ["7", "6", "5", "4", "3", "2", "1", "0"],
        ("admin", "*"): ["7", "6", "5", "4", "3", "2", "1", "0"],
        ("admin", "q/*"): [],
    }
    seen = {}
    for scopes, workspace in expected:
        key = await create_key(
            database_url, name="k", scopes=scopes.split(), workspaces=(workspace,), expires_in=None
        )
        seen[scopes, workspace] = await all_seen(guarded, key.api_key)

    assert seen == expected
    assert (await guarded.get("/v1/rejects")).status == 401
