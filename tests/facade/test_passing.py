"""Calls that are passed on: signed with our credentials, under the limiter, shared, recorded, and answered honestly."""

import asyncio
import json
from dataclasses import replace

import pytest

from service.commands.keys import create_key
from service.core.signing import AccessKey
from tests.emulator.vendor_caller import FACTORY, Reply
from tests.facade.conftest import StackWith
from tests.facade.raw import signed_call, token_call
from tests.facade.test_signatures import LET_TIME_PASS, start_another
from tests.support.emulator import UNLIMITED
from tests.support.sql import fetch_rows, fetch_value
from tests.support.stack import Stack, most_in_a_second

ITEMS = f"GET {FACTORY}/pending-items"
PACKAGES = f"POST {FACTORY}/release-packages"
DEPLOY = f"POST {FACTORY}/release-packages/deploy"
UNPACK = f"POST {FACTORY}/release-packages/unpack"
APPROVALS = f"GET {FACTORY}/workspaces/approval"
PACKAGE_1 = json.dumps({"package_ids": ["1"]}).encode()


async def ask(stack: Stack, token: str, line: str, body: bytes = b"") -> Reply:
    return await token_call(stack.url, token, line=line, body=body).send()


async def test_callers_that_ask_the_same_share_one_call(stack: Stack, api_token: str) -> None:
    """Thirty equal reads at once are one call of the vendor; another page is another."""
    replies = await asyncio.gather(*(ask(stack, api_token, f"{ITEMS}?limit=10") for _ in range(30)))
    other = await ask(stack, api_token, f"{ITEMS}?limit=20")
    calls = await stack.emulator.calls("list_pending_items")

    assert {(reply.status, reply.body) for reply in replies} == {(200, replies[0].body)}
    assert other.status == 200
    assert len(calls) == 2


async def test_a_read_after_a_change_sees_it(stack: Stack, api_token: str) -> None:
    """What was read before a package was made is not shown to who asks after it."""
    before = await ask(stack, api_token, PACKAGES, b"{}")
    await token_call(stack.url, api_token).send()
    after = await ask(stack, api_token, PACKAGES, b"{}")
    await ask(stack, api_token, UNPACK, PACKAGE_1)
    at_last = await ask(stack, api_token, PACKAGES, b"{}")

    assert (before.json["total"], after.json["total"]) == (0, 1)
    assert after.json["data"][0]["delete_flag"] != at_last.json["data"][0]["delete_flag"]


async def test_reads_keep_the_rate(stack_with: StackWith, api_token: str) -> None:
    """However many callers read, the vendor sees no more reads a second than the limiter lets through."""
    async with stack_with(RELEASE_VENDOR_RATE="4") as stack:
        await stack.start_api()
        other = await start_another(stack)
        urls = [stack.url, other] * 8
        calls = [
            token_call(url, api_token, line=f"{ITEMS}?limit={number + 1}", body=b"").send()
            for number, url in enumerate(urls)
        ]
        replies = await asyncio.gather(*calls)
        made = await stack.emulator.calls("list_pending_items")

    assert {reply.status for reply in replies} == {200}
    assert len(made) == 16
    assert most_in_a_second(made) <= 5


async def test_who_would_wait_too_long_is_told_to_come_again(stack: Stack, api_token: str) -> None:
    """While the vendor throttles, reads are refused as its gateway would, with the time to wait."""
    await stack.emulator.put_faults(
        {**UNLIMITED, "rules": [{"fault": "429", "retry_after": "60", "operation": "list_pending_items"}]}
    )
    first = await ask(stack, api_token, ITEMS)
    second = await ask(stack, api_token, ITEMS)

    assert (first.status, first.error_code) == (429, "APIGW.0308")
    assert (second.status, second.error_code) == (429, "APIGW.0308")
    assert 0 < int(second.headers["Retry-After"]) <= 60
    assert len(await stack.emulator.calls("list_pending_items")) == 1


async def test_the_vendors_errors_come_through_untouched(stack: Stack, api_token: str) -> None:
    """An unknown package is the vendor's 400 in its own words, with its request id beside ours."""
    reply = await ask(stack, api_token, f"GET {FACTORY}/release-packages/99")

    assert (reply.status, reply.json) == (
        400,
        {"error_code": "DLF.20810", "error_msg": "Task does not exist."},
    )
    assert len(reply.headers["X-Vendor-Request-Id"]) == 32
    assert reply.headers["X-Request-Id"] != reply.headers["X-Vendor-Request-Id"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("502_before", (502, "APIGW.0202")),
        ("503_before", (503, "APIGW.0613")),
        ("drop_before", (504, "APIGW.0203")),
        ("garbage_200", (502, "APIGW.0202")),
        ("html_502", (502, "APIGW.0202")),
        ("redirect_302", (502, "APIGW.0202")),
        ("signature_refused", (503, "APIGW.0202")),
    ],
)
async def test_a_vendor_that_fails_is_told_as_it_is(
    stack: Stack, api_token: str, fault: str, expected: tuple[int, str]
) -> None:
    """Errors of the vendor are errors here, in its form; nothing that it did not mean as an answer is passed on."""
    await stack.emulator.put_faults({**UNLIMITED, "rules": [{"fault": fault, "operation": None}]})
    reply = await ask(stack, api_token, ITEMS)

    assert (reply.status, reply.error_code) == expected
    assert reply.headers["Content-Type"].startswith("application/json")
    assert b"<" not in reply.body
    assert "X-Request-Id" in reply.headers


async def test_credentials_that_were_refused_are_not_tried_again_at_once(
    stack: Stack, api_token: str
) -> None:
    """Five wrong signatures lock the vendor's key: after one the breaker of all processes is open for a minute."""
    await stack.emulator.put_faults(
        {**UNLIMITED, "rules": [{"fault": "signature_refused", "operation": None}]}
    )
    replies = [await ask(stack, api_token, f"{ITEMS}?limit={limit}") for limit in (1, 2, 3)]

    assert [(reply.status, reply.error_code) for reply in replies] == [(503, "APIGW.0202")] * 3
    assert 5 < int(replies[2].headers["Retry-After"]) <= 60
    assert len(await stack.emulator.calls("list_pending_items")) == 1


async def test_without_redis_creates_are_accepted_and_nothing_is_passed_on(
    stack_with: StackWith, api_token: str
) -> None:
    """A create is durable and waits; a call that would be passed on is not made without leave of the limiter."""
    async with stack_with(
        RELEASE_REDIS_URL="redis://127.0.0.1:1/0", RELEASE_FACADE_WAIT_SECONDS="0.1"
    ) as stack:
        await stack.start_api()
        created = await token_call(stack.url, api_token).send()
        read = await ask(stack, api_token, ITEMS)
        deployed = await ask(stack, api_token, DEPLOY, PACKAGE_1)
        calls = (await stack.emulator.ledger())["calls"]

    assert (created.status, created.error_code) == (504, "APIGW.0203")
    assert created.headers["X-Release-Request-Id"]
    assert [(reply.status, reply.error_code) for reply in (read, deployed)] == [(503, "APIGW.0202")] * 2
    assert read.json["error_msg"] == "Backend unavailable: Redis does not answer"
    assert calls == []


async def test_without_the_vendors_credentials_requests_are_accepted_all_the_same(
    stack_with: StackWith, api_token: str
) -> None:
    """An HTTP process without credentials accepts creates; what it would pass on it refuses, and says why."""
    async with stack_with(
        HUAWEICLOUD_SDK_AK="", HUAWEICLOUD_SDK_SK="", RELEASE_FACADE_WAIT_SECONDS="0.1"
    ) as stack:
        await stack.start_api()
        created = await token_call(stack.url, api_token).send()
        read = await ask(stack, api_token, ITEMS)
        deployed = await ask(stack, api_token, DEPLOY, PACKAGE_1)

    assert (created.status, created.error_code) == (504, "APIGW.0203")
    for reply in (read, deployed):
        assert (reply.status, reply.error_code) == (503, "APIGW.0202")
        assert "no vendor credentials found" in reply.json["error_msg"]


async def test_a_change_is_in_the_audit_trail(stack: Stack, api_token: str, database_url: str) -> None:
    """Deploying leaves who wanted it before the call and what came of it after; so does unpacking that is refused."""
    await token_call(stack.url, api_token).send()
    deployed = await ask(stack, api_token, DEPLOY, PACKAGE_1)
    await stack.emulator.settle("1", "approve")
    refused = await ask(stack, api_token, UNPACK, PACKAGE_1)
    rows = await fetch_rows(
        database_url,
        "SELECT actor, action, target, workspace, after FROM audit_log WHERE action LIKE 'package.%' ORDER BY id",
    )

    assert (deployed.status, refused.status, refused.error_code) == (200, 400, "DLF.20990")
    assert [(row["action"], row["target"]) for row in rows] == [
        ("package.to_be_deployed", "1"),
        ("package.deployed", "1"),
        ("package.to_be_unpacked", "1"),
        ("package.not_unpacked", "1"),
    ]
    assert all(row["actor"].startswith("token (") for row in rows)
    assert json.loads(rows[3]["after"])["error_code"] == "DLF.20990"


async def test_a_signed_change_is_made_once(stack: Stack, access_key: AccessKey, database_url: str) -> None:
    """Copies of one signed deployment are one call of the vendor, in whatever process they arrive; later a replay."""
    other = await start_another(stack)
    await signed_call(stack.url, access_key).send()
    call = signed_call(stack.url, access_key, line=DEPLOY, body=PACKAGE_1)
    copies = [call, replace(call, url=call.url.replace(stack.url, other))] * 5
    replies = await asyncio.gather(*(copy.send() for copy in copies))
    await fetch_value(database_url, LET_TIME_PASS)
    late = await call.send()

    assert len(await stack.emulator.calls("deploy_packages")) == 1
    assert {reply.status for reply in replies} <= {200, 504}
    assert sum(reply.status == 200 for reply in replies) >= 5
    assert late.status == 401


async def test_a_change_is_never_repeated_by_us(stack: Stack, api_token: str) -> None:
    """A deployment whose answer is lost is called once, and its caller learns that nobody knows."""
    await token_call(stack.url, api_token).send()
    await stack.emulator.put_faults(
        {**UNLIMITED, "rules": [{"fault": "drop_after", "operation": "deploy_packages"}]}
    )
    reply = await ask(stack, api_token, DEPLOY, PACKAGE_1)

    assert (reply.status, reply.error_code) == (504, "APIGW.0203")
    assert "is not known" in reply.json["error_msg"]
    assert len(await stack.emulator.calls("deploy_packages")) == 1


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"package_ids": []}', b'{"package_ids": ["a/b"]}', b'{"package_ids": "1"}']
)
async def test_a_change_of_nothing_is_refused(stack: Stack, api_token: str, body: bytes) -> None:
    """Without the ids of packages there is nothing to record and nothing to call."""
    reply = await ask(stack, api_token, DEPLOY, body)

    assert (reply.status, reply.error_code) == (400, "DLF.3051")
    assert await stack.emulator.calls("deploy_packages") == []


@pytest.mark.parametrize(
    "line", [ITEMS, APPROVALS, f"GET {FACTORY}/release-packages/1", PACKAGES, DEPLOY, UNPACK]
)
async def test_scopes_and_workspaces_hold_for_every_call(stack: Stack, database_url: str, line: str) -> None:
    """Reads need read, changes need operate, and a workspace that a key is not for is not there."""
    body = PACKAGE_1 if line.startswith("POST") else b""
    scope, other = ("operate", "read") if line in (DEPLOY, UNPACK) else ("read", "operate")
    keys = [
        await create_key(database_url, name="key", scopes=[other, "submit"], workspaces=["*"]),
        await create_key(database_url, name="key", scopes=[scope], workspaces=["project/other"]),
    ]
    replies = [await ask(stack, key.api_key, line, body) for key in keys]

    assert [(reply.status, reply.error_code) for reply in replies] == [
        (403, "APIGW.0302"),
        (404, "APIGW.0101"),
    ]
    assert (await stack.emulator.ledger())["calls"] == []


@pytest.mark.parametrize("query", ["item_name=%ff", "item_name=%ed%a0%80", "%c0%af=1"])
async def test_a_query_that_is_not_text_never_reaches_the_vendor(
    stack: Stack, api_token: str, query: str
) -> None:
    """Signed with our credentials it would look like a bad signature, and stop everybody's calls."""
    refused = await ask(stack, api_token, f"{ITEMS}?{query}")
    after = await ask(stack, api_token, ITEMS)

    assert (refused.status, refused.json["error_code"]) == (400, "DLF.3051")
    assert after.status == 200
    assert len(await stack.emulator.calls("list_pending_items")) == 1


@pytest.mark.parametrize("package_id", ["..", ".", "%2e%2e"])
async def test_dots_lead_nowhere(stack: Stack, api_token: str, package_id: str) -> None:
    """A path that a gateway would shorten is not passed on."""
    reply = await ask(stack, api_token, f"GET {FACTORY}/release-packages/{package_id}")

    assert reply.status in (400, 404)
    assert await stack.emulator.calls("show_package") == []
