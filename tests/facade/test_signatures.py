"""Signed calls: nothing is taken that was changed, is too old, or was seen before."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from service.commands.keys import create_access_key, revoke_key
from service.core.key_orders import KeyOrder
from service.core.signing import AccessKey
from tests.emulator.vendor_caller import FACTORY, Reply
from tests.facade.conftest import StackWith
from tests.facade.raw import RawCall, signed_call, token_call
from tests.support.access_keys import SEALING_KEY, SECRET_KEY
from tests.support.sql import count_requests, fetch_rows, fetch_value
from tests.support.stack import Stack, free_port
from tests.support.waiting import eventually

READ = f"GET {FACTORY}/pending-items"
#: In the middle of a test nobody waits for three seconds: a signature of the past has the same row.
LET_TIME_PASS = "UPDATE signed_calls SET first_seen_at = first_seen_at - interval '4 seconds'"


def tampered(call: RawCall, part: str) -> RawCall:
    """Change one part of a call behind the back of its signature."""
    date, authorization = call.headers["X-Sdk-Date"], call.headers["Authorization"]
    changes: dict[str, Callable[[], RawCall]] = {
        "method": lambda: replace(call, method="GET", url=call.url.removesuffix("/package")),
        "project": lambda: replace(call, url=call.url.replace("/v2/6", "/v2/7")),
        "query": lambda: replace(call, url=f"{call.url}?x=1"),
        "body": lambda: replace(call, body=call.body.replace(b'"26"', b'"27"')),
        "workspace": lambda: call.with_headers(workspace="ws-of-others"),
        "date": lambda: call.with_headers(X_Sdk_Date=f"{date[:-3]}{(int(date[-3:-1]) + 1) % 60:02}Z"),
        "signature": lambda: call.with_headers(Authorization=authorization[:-1] + "g"),
    }
    return changes[part]()


@pytest.mark.parametrize("part", ["method", "project", "query", "body", "workspace", "date", "signature"])
async def test_a_changed_call_is_refused(
    stack: Stack, access_key: AccessKey, database_url: str, part: str
) -> None:
    """A change of any signed part is 401 APIGW.0301, and nothing is kept of the call."""
    reply = await tampered(signed_call(stack.url, access_key), part).send()

    assert (reply.status, reply.error_code) == (401, "APIGW.0301")
    assert reply.json.keys() == {"error_code", "error_msg", "request_id"}
    assert reply.json["request_id"] == reply.headers["X-Request-Id"]
    assert await count_requests(database_url) == 0
    assert await fetch_value(database_url, "SELECT count(*) FROM signed_calls") == 0


@pytest.mark.parametrize("minutes", [-16, 16])
async def test_a_call_of_another_time_is_refused(stack: Stack, access_key: AccessKey, minutes: int) -> None:
    """A date more than fifteen minutes away is refused, with the service's own time."""
    reply = await signed_call(stack.url, access_key, skew=timedelta(minutes=minutes)).send()

    assert (reply.status, reply.error_code) == (401, "APIGW.0301")
    assert "within 15 minutes of 20" in reply.json["error_msg"]


@pytest.mark.parametrize("minutes", [-14, 14])
async def test_a_clock_may_be_some_minutes_off(stack: Stack, access_key: AccessKey, minutes: int) -> None:
    """A caller whose clock is less than fifteen minutes off is served."""
    assert (await signed_call(stack.url, access_key, skew=timedelta(minutes=minutes)).send()).status == 200


async def test_a_workspace_must_be_signed(stack: Stack, access_key: AccessKey) -> None:
    """A workspace that the signature does not cover decides nothing, even if it is the right one."""
    call = signed_call(stack.url, access_key)
    unsigned = call.headers["Authorization"].replace("workspace;", "")
    reply = await call.with_headers(Authorization=unsigned).send()

    assert (reply.status, reply.error_code) == (401, "APIGW.0301")
    assert "workspace among the signed headers" in reply.json["error_msg"]


async def test_headers_that_a_proxy_adds_do_no_harm(stack: Stack, access_key: AccessKey) -> None:
    """What is not signed and decides nothing may be added on the way."""
    call = signed_call(stack.url, access_key).with_headers(X_Forwarded_For="10.0.0.1", traceparent="odd")

    assert (await call.send()).status == 200


async def test_a_replay_is_refused(stack: Stack, access_key: AccessKey, database_url: str) -> None:
    """The same bytes are the same call for three seconds; later they are a replay, in every process."""
    other = await start_another(stack)
    call = signed_call(stack.url, access_key)
    first = await call.send()
    again = await call.send()
    elsewhere = await replace(call, url=call.url.replace(stack.url, other)).send()
    await fetch_value(database_url, LET_TIME_PASS)
    late = [await call.send(), await replace(call, url=call.url.replace(stack.url, other)).send()]

    assert [reply.status for reply in (first, again, elsewhere)] == [200, 200, 200]
    assert len({reply.headers["X-Release-Request-Id"] for reply in (first, again, elsewhere)}) == 1
    assert [(reply.status, reply.error_code) for reply in late] == [(401, "APIGW.0301")] * 2
    assert "used before" in late[0].json["error_msg"]
    assert await count_requests(database_url) == 1


async def start_another(stack: Stack) -> str:
    """Start a second HTTP process, and return its address."""
    port = free_port()
    process = stack.start("api", RELEASE_HTTP_PORT=str(port))
    await process.wait_for_line("process.started")
    return f"http://127.0.0.1:{port}"


async def test_a_read_may_come_again_for_three_seconds(
    stack: Stack, access_key: AccessKey, database_url: str
) -> None:
    """A client that reads twice in one second sends the same bytes; later they are refused like any others."""
    call = signed_call(stack.url, access_key, line=READ, body=b"")
    replies = [await call.send() for _ in range(3)]
    await fetch_value(database_url, LET_TIME_PASS)

    assert [reply.status for reply in replies] == [200, 200, 200]
    assert (await call.send()).status == 401


async def test_fifty_copies_of_one_call_are_one_call(
    stack: Stack, access_key: AccessKey, database_url: str
) -> None:
    """Copies that race through two processes are one request, one package, and one row."""
    other = await start_another(stack)
    call = signed_call(stack.url, access_key)
    copies = [call, replace(call, url=call.url.replace(stack.url, other))] * 25
    replies = await asyncio.gather(*(copy.send() for copy in copies))
    rows = await fetch_rows(database_url, "SELECT times_seen FROM signed_calls")

    assert {(reply.status, reply.body) for reply in replies} == {(200, replies[0].body)}
    assert [row["times_seen"] for row in rows] == [50]
    assert len(await stack.emulator.packages()) == 1


async def test_a_revoked_access_key_ends_within_a_second_in_all_processes(
    stack: Stack, database_url: str
) -> None:
    """A key that was just used in two processes is refused by both at most a second after its revocation."""
    order = KeyOrder(name="sdk", scopes=["read"], workspaces=["*"])
    created = await create_access_key(database_url, order, sealing_key=SEALING_KEY)
    urls = [stack.url, await start_another(stack)]

    async def read_all() -> list[Reply]:
        calls = [signed_call(url, created.pair, line=READ, body=b"") for url in urls]
        return await asyncio.gather(*(call.send() for call in calls))

    async def are_refused() -> bool:
        return [reply.status for reply in await read_all()] == [401, 401]

    assert [reply.status for reply in await read_all()] == [200, 200]
    assert await revoke_key(database_url, created.kept.key_id)
    assert await eventually(are_refused, within=1.5)


async def test_a_caller_whose_key_is_revoked_while_it_waits_gets_nothing(
    stack_with: StackWith, database_url: str
) -> None:
    """The result of a create is not for a key that was revoked before it was there."""
    async with stack_with(RELEASE_FACADE_WAIT_SECONDS="2") as stack:
        await stack.start_api()
        order = KeyOrder(name="sdk", scopes=["submit"], workspaces=["*"])
        created = await create_access_key(database_url, order, sealing_key=SEALING_KEY)
        waiting = asyncio.create_task(signed_call(stack.url, created.pair).send())
        await eventually(lambda: count_requests(database_url))
        await revoke_key(database_url, created.kept.key_id)
        reply = await waiting

    assert (reply.status, reply.error_code) == (401, "APIGW.0301")
    assert "revoked" in reply.json["error_msg"]


async def test_an_expired_access_key_is_refused(stack: Stack, database_url: str) -> None:
    """An access key whose time is over signs nothing any more, and two keys of one owner live side by side."""
    scopes, workspaces = ["read"], ["*"]
    over = KeyOrder(name="sdk", scopes=scopes, workspaces=workspaces, expires_in=timedelta(seconds=-1))
    lives = KeyOrder(name="sdk", scopes=scopes, workspaces=workspaces, expires_in=timedelta(days=1))
    keys = [
        (await create_access_key(database_url, order, sealing_key=SEALING_KEY)).pair
        for order in (over, lives, lives)
    ]
    calls = [signed_call(stack.url, key, line=READ, body=b"") for key in keys]

    assert [(await call.send()).status for call in calls] == [401, 200, 200]


async def test_an_api_key_is_taken_as_a_token(stack: Stack, api_token: str) -> None:
    """X-Auth-Token with an API key opens the façade; another text is refused in the vendor's form."""
    taken = await token_call(stack.url, api_token).send()
    refused = await token_call(stack.url, "rel_" + "A" * 43).send()
    missing = await token_call(stack.url, "x").with_headers(X_Auth_Token=None).send()

    assert taken.status == 200
    assert taken.json == {"package_name": "package_of_26", "release_package_id": "1"}
    assert [(reply.status, reply.error_code) for reply in (refused, missing)] == [(401, "APIGW.0301")] * 2


async def test_a_signature_decides_where_there_is_a_token_too(
    stack: Stack, access_key: AccessKey, api_token: str
) -> None:
    """A good token makes no wrong signature good."""
    call = tampered(signed_call(stack.url, access_key), "body").with_headers(X_Auth_Token=api_token)

    assert (await call.send()).status == 401


@pytest.mark.usefixtures("access_key")
@pytest.mark.parametrize("secret_key", ["", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])
async def test_the_start_is_refused_where_access_keys_cannot_be_checked(
    stack_with: StackWith, secret_key: str
) -> None:
    """With a live access key and no secret key, or another one, the HTTP process says so and ends."""
    async with stack_with(RELEASE_SECRET_KEY=secret_key) as stack:
        process = stack.start("api")
        code = await process.wait()

    assert code == 2
    assert "RELEASE_SECRET_KEY" in process.stderr
    assert ("is not set" in process.stderr) == (secret_key == "")
    assert "Traceback" not in process.stderr


async def test_without_keys_every_signature_is_taken(stack_with: StackWith) -> None:
    """With RELEASE_AUTH=off, which is for one machine alone, the SDKs may sign with whatever they have."""
    async with stack_with(RELEASE_AUTH="off") as stack:
        await stack.start_api()
        await stack.start_worker()
        reply = await signed_call(stack.url, AccessKey(access_key="any", secret_key="any")).send()

    assert reply.status == 200


async def test_secrets_are_nowhere_but_with_their_owners(
    stack_with: StackWith, access_key: AccessKey, api_token: str, database_url: str
) -> None:
    """No secret of a good, a tampered or a failed call is in a log, an answer or a table."""
    async with stack_with(RELEASE_LOG_LEVEL="debug") as stack:
        process = await stack.start_api()
        worker = await stack.start_worker()
        calls = [signed_call(stack.url, access_key), tampered(signed_call(stack.url, access_key), "body")]
        calls += [token_call(stack.url, api_token), token_call(stack.url, api_token, body=b"{")]
        replies = [await call.send() for call in calls]
        await eventually(lambda: process.stderr.count("http.served") >= len(calls))
        written = [process.stdout, process.stderr, worker.stdout, worker.stderr]
    answers = [f"{reply.headers} {reply.body!r}" for reply in replies]
    tables = [
        await fetch_value(database_url, f"SELECT coalesce(string_agg(t::text, ';'), '') FROM {table} AS t")  # noqa: S608 - names of ours
        for table in ("api_keys", "signed_calls", "body_generations", "audit_log", "release_requests")
    ]
    secrets = [access_key.secret_key, access_key.secret_key.encode().hex(), api_token, SECRET_KEY]

    assert [reply.status for reply in replies] == [200, 401, 200, 400]
    assert not [text for text in (*written, *answers, *tables) if any(secret in text for secret in secrets)]
