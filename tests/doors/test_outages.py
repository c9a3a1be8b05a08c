"""What callers see while Postgres or Redis is away: nothing promised that does not hold, nothing lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from service.commands.keys import create_key
from service.core.api_key import digest_of
from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from tests.support.api import REQUESTS, Replica, running_replica
from tests.support.proxy import Mode, PostgresProxy
from tests.support.servers import frozen
from tests.support.stack import body
from tests.support.waiting import eventually


@pytest.fixture
async def proxied(proxy: PostgresProxy, redis_url: str) -> AsyncIterator[Replica]:
    """A replica that reaches Postgres through the proxy."""
    settings = {"RELEASE_DATABASE_URL": proxy.url, "RELEASE_REDIS_URL": redis_url}
    async with running_replica(settings) as replica:
        yield replica


async def ids_in(database_url: str) -> set[str]:
    connection = await asyncpg.connect(database_url)
    try:
        return {str(row["id"]) for row in await connection.fetch("SELECT id FROM release_requests")}
    finally:
        await connection.close()


async def accepts_again(replica: Replica, item: str) -> bool:
    """Whether a request goes through, within a try."""
    with suppress(aiohttp.ClientError):
        return (await replica.post(body(item), Idempotency_Key=f"key-{item}")).status == 202
    return False


async def test_requests_are_accepted_without_redis(database_url: str, own_valkey: EmbeddedValkey) -> None:
    """With Redis stopped a request is accepted and shown on another replica, and the process says it is degraded."""
    settings = {"RELEASE_DATABASE_URL": database_url, "RELEASE_REDIS_URL": own_valkey.url}
    async with running_replica(settings) as replica, running_replica(settings) as other:
        await own_valkey.stop()
        answers = await asyncio.gather(*(replica.post(body(str(item))) for item in range(50)))
        looks = await asyncio.gather(*(other.get(answer.headers["Location"]) for answer in answers))
        ready = await replica.get("/readyz?verbose")

    assert {answer.status for answer in answers} == {202}
    assert {look.status for look in looks} == {200}
    assert ready.status == 200
    assert ready.json["status"] == "degraded"
    assert ready.json["checks"] == {"postgres": "ok", "redis": "no answer"}


async def test_a_stopped_postgres_is_503_and_its_return_needs_no_restart(
    own_database_url: str, own_postgres: EmbeddedPostgres, redis_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """While Postgres is stopped every answer is a 503 problem with Retry-After; once it is back, all works again."""
    settings = {"RELEASE_DATABASE_URL": own_database_url, "RELEASE_REDIS_URL": redis_url}
    async with running_replica(settings) as replica:
        accepted = await replica.accept(body("1"))
        await own_postgres.stop()
        capfd.readouterr()
        answers = [
            await replica.post(body("2"), Idempotency_Key="key-2"),
            await replica.get(f"{REQUESTS}/{accepted['id']}?wait=5"),
            await replica.get(f"{REQUESTS}/{accepted['id']}/events"),
        ]
        ready = await replica.get("/readyz")
        logged = capfd.readouterr()
        await own_postgres.start()
        await eventually(lambda: accepts_again(replica, "2"), within=20.0)
        shown = await replica.show(accepted["id"])

    for answer in answers:
        assert (answer.status, answer.code) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert "Traceback" not in answer.body.decode()
    assert (ready.status, ready.json["status"]) == (503, "unavailable")
    assert int(ready.headers["Retry-After"]) >= 1
    assert "Traceback" not in logged.out + logged.err
    assert shown == accepted


async def test_a_hung_postgres_is_503_in_bounded_time(
    own_database_url: str, own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    """While Postgres is frozen an answer comes within 12 seconds, readiness within 3; afterwards all works again."""
    settings = {"RELEASE_DATABASE_URL": own_database_url, "RELEASE_REDIS_URL": redis_url}
    loop = asyncio.get_running_loop()
    async with running_replica(settings) as replica:
        location = (await replica.post(body("1"))).headers["Location"]
        with frozen(own_postgres.pid):
            started = loop.time()
            waiting = asyncio.gather(
                *(replica.post(body(str(n)), Idempotency_Key=f"key-{n}") for n in range(2, 40)),
                *(replica.get(location) for _ in range(4)),
            )
            ready = await replica.get("/readyz")
            ready_after = loop.time() - started
            answers = await waiting
            answered_after = loop.time() - started
        await eventually(lambda: accepts_again(replica, "2"), within=20.0)
        again = await asyncio.gather(
            *(replica.post(body(str(n)), Idempotency_Key=f"key-{n}") for n in range(2, 40))
        )

    assert ready.status == 503
    assert ready_after < 3.0
    assert {(answer.status, answer.code) for answer in answers} == {(503, "unavailable")}
    assert answered_after < 12.0
    assert {answer.status for answer in again} == {202}
    assert len(await ids_in(own_database_url)) == 39


async def test_readiness_does_not_wait_for_a_swallowed_connection(
    proxy: PostgresProxy, proxied: Replica
) -> None:
    """A check that hangs, and cannot even be cancelled on the server, is left to itself after a second."""
    at_first = await proxied.get("/readyz")
    proxy.swallow()
    started = asyncio.get_running_loop().time()
    then = await proxied.get("/readyz")
    took = asyncio.get_running_loop().time() - started

    assert (at_first.status, then.status) == (200, 503)
    assert took < 4.0, "6 s where the end of the check is waited for"


@pytest.mark.parametrize("has_key", [True, False])
async def test_a_lost_answer_to_a_commit_is_found_out(
    proxy: PostgresProxy, proxied: Replica, database_url: str, *, has_key: bool
) -> None:
    """When the answer to COMMIT is lost the caller gets 202 with the one id that is stored, as for any first POST."""
    proxy.lose_answers_to(b"COMMIT", one_in=1_000)
    headers = {"Idempotency_Key": "key-1"} if has_key else {}
    answer = await proxied.post(body("1"), **headers)

    assert proxy.lost == 1
    assert answer.status == 202
    assert "Idempotent-Replayed" not in answer.headers
    assert {answer.json["id"]} == await ids_in(database_url)


async def test_a_key_whose_look_up_is_cut_is_looked_up_again(
    proxy: PostgresProxy, database_url: str, redis_url: str
) -> None:
    """A connection that is cut while a caller's key is looked up costs the caller nothing."""
    key = (await create_key(database_url, name="a key", scopes=["submit"], workspaces=["*"])).api_key
    settings = {"RELEASE_DATABASE_URL": proxy.url, "RELEASE_REDIS_URL": redis_url, "RELEASE_AUTH": "keys"}
    async with running_replica(settings) as replica:
        proxy.lose_answers_to(digest_of(key), one_in=1_000)
        answer = await replica.post(body("1"), X_Auth_Token=key)

    assert proxy.lost == 1
    assert answer.status == 202


@pytest.mark.parametrize("path", ["", "/events", "?wait=1"])
async def test_a_read_that_is_cut_is_made_again(proxy: PostgresProxy, proxied: Replica, path: str) -> None:
    """A connection that is cut while a request is read costs the caller nothing."""
    accepted = await proxied.accept(body("1"))
    proxy.lose_answers_to(UUID(accepted["id"]).bytes, one_in=1_000)
    answer = await proxied.get(f"{REQUESTS}/{accepted['id']}{path}")

    assert proxy.lost == 1
    assert answer.status == 200


async def test_lost_answers_to_commits_double_nothing_under_load(
    proxy: PostgresProxy, proxied: Replica, database_url: str
) -> None:
    """With the answer to every few commits lost, each request has one row and each caller its id, never an error."""
    numbers = iter(range(400))

    async def caller() -> list[str]:
        return [
            (await proxied.accept(body(str(number)), Idempotency_Key=f"key-{number}"))["id"]
            for number in numbers
        ]

    proxy.lose_answers_to(b"COMMIT", one_in=3)
    found = await asyncio.gather(*(caller() for _ in range(32)))
    ids = [request_id for some in found for request_id in some]

    assert proxy.lost >= 3
    assert len(ids) == 400
    assert set(ids) == await ids_in(database_url)


async def test_a_network_that_fails_is_503_and_recovers(
    proxy: PostgresProxy, proxied: Replica, database_url: str
) -> None:
    """While every connection is cut the answer is 503; a second try goes through and there is one row."""
    proxy.mode = Mode.REFUSE
    proxy.reset()
    answer = await proxied.post(body("1"), Idempotency_Key="key-1")
    proxy.mode = Mode.PASS
    await eventually(lambda: accepts_again(proxied, "1"), within=20.0)

    assert (answer.status, answer.code) == (503, "unavailable")
    assert len(await ids_in(database_url)) == 1
