"""The call that makes a package: one request for one body, its result for whoever comes again, and never a lie."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from service.commands.keys import create_access_key, create_key
from service.core.key_orders import KeyOrder
from service.core.signing import AccessKey
from tests.emulator.vendor_caller import CREATE, PROJECT, WORKSPACE, Reply, application
from tests.facade.conftest import StackWith
from tests.facade.raw import signed_call, token_call
from tests.support.access_keys import SEALING_KEY
from tests.support.emulator import UNLIMITED
from tests.support.sql import count_requests, fetch_value
from tests.support.stack import Stack
from tests.support.vendor_sdk import APPLICANT

#: Nobody waits for fifty seconds in a test.
SHORT = {"RELEASE_FACADE_WAIT_SECONDS": "0.3"}


async def create(stack: Stack, token: str, *items: str, **changes: object) -> Reply:
    body = json.dumps(application(*(items or ["26"]), **changes)).encode()
    return await token_call(stack.url, token, body=body).send()


def request_of(reply: Reply) -> str:
    return reply.headers["X-Release-Request-Id"]


async def test_who_gave_up_and_comes_again_gets_the_result(stack_with: StackWith, api_token: str) -> None:
    """Not done in time is 504 APIGW.0203; the same body again is the same request, and gets its result."""
    async with stack_with(**SHORT) as stack:
        await stack.start_api()
        first = await create(stack, api_token)
        second = await create(stack, api_token)
        await stack.start_worker()
        await stack.wait_for_state(request_of(first), "released")
        replies = await asyncio.gather(*(create(stack, api_token) for _ in range(10)))

    assert (first.status, first.error_code) == (504, "APIGW.0203")
    assert first.json.keys() == {"error_code", "error_msg", "request_id"}
    assert request_of(first) in first.json["error_msg"]
    assert (second.status, request_of(second)) == (504, request_of(first))
    assert {(reply.status, reply.body, request_of(reply)) for reply in replies} == {
        (200, b'{"package_name":"package_of_26","release_package_id":"1"}', request_of(first))
    }


async def test_the_same_body_is_the_same_request_however_it_is_written(
    stack: Stack, api_token: str, database_url: str
) -> None:
    """Order, white space and members that the vendor does not know make no other body; another name does."""
    members = application("26")
    turned = json.dumps({"publish_type": "asy", **dict(reversed(members.items()))}, indent=2).encode()
    replies = [
        await create(stack, api_token),
        await token_call(stack.url, api_token, body=turned).send(),
        await create(stack, api_token, package_name="another"),
    ]

    assert [reply.status for reply in replies] == [200, 200, 200]
    assert request_of(replies[0]) == request_of(replies[1]) != request_of(replies[2])
    assert {reply.json["package_name"] for reply in replies} == {"package_of_26"}
    assert await count_requests(database_url) == 2
    assert len(await stack.emulator.packages()) == 1


async def test_a_caller_that_was_told_may_try_again(stack: Stack, api_token: str) -> None:
    """A refusal that was delivered ends the request; the same body is then a new one, and may be released."""
    await stack.emulator.put_faults({**UNLIMITED, "poisoned_items": ["26"]})
    refused = await create(stack, api_token)
    await stack.emulator.put_faults(UNLIMITED)
    released = await create(stack, api_token)
    again = await create(stack, api_token)

    assert (refused.status, refused.json) == (
        400,
        {"error_code": "DLF.3051", "error_msg": "The request parameter is invalid."},
    )
    assert (released.status, again.status) == (200, 200)
    assert request_of(refused) != request_of(released) == request_of(again)


async def test_a_refusal_that_nobody_heard_is_kept(stack_with: StackWith, api_token: str) -> None:
    """A result that came when its caller had gone is what the same body gets when it comes again, once."""
    async with stack_with({"poisoned_items": ["26"]}, **SHORT) as stack:
        await stack.start_api()
        gone = await create(stack, api_token)
        await stack.start_worker()
        await stack.wait_for_state(request_of(gone), "rejected")
        told = await create(stack, api_token)
        anew = await create(stack, api_token)

    assert (gone.status, told.status) == (504, 400)
    assert request_of(gone) == request_of(told) != request_of(anew)


async def test_the_same_bytes_get_the_same_refusal(stack: Stack, access_key: AccessKey) -> None:
    """Within three seconds a signed call is one call, also if its first copy was answered with a refusal."""
    await stack.emulator.put_faults({**UNLIMITED, "poisoned_items": ["26"]})
    call = signed_call(stack.url, access_key)
    replies = [await call.send() for _ in range(3)]

    assert [reply.status for reply in replies] == [400, 400, 400]
    assert len({request_of(reply) for reply in replies}) == 1


async def test_what_is_in_doubt_is_never_called_done(stack_with: StackWith, api_token: str) -> None:
    """A call whose outcome nobody knows is 504, neither 200 nor 400, for as long as nobody knows."""
    faults: dict[str, object] = {"rules": [{"fault": "500_after", "operation": "create_package"}]}
    async with stack_with(faults, **SHORT) as stack:
        await stack.start_api()
        await stack.start_worker()
        first = await create(stack, api_token)
        await stack.wait_for_state(request_of(first), "in_doubt")
        doubtful = await create(stack, api_token)

    assert (doubtful.status, doubtful.error_code) == (504, "APIGW.0203")
    assert "in_doubt" in doubtful.json["error_msg"]
    assert request_of(first) == request_of(doubtful)


async def test_a_part_is_not_called_a_whole(stack: Stack, api_token: str) -> None:
    """Where one item of two is released the caller learns which, as an error: the vendor has no word for it."""
    await stack.emulator.put_faults({**UNLIMITED, "poisoned_items": ["27"]})
    reply = await create(stack, api_token, "26", "27")

    assert (reply.status, reply.error_code) == (400, "DLF.3051")
    assert "item 26 is in package 1; item 27 is rejected" in reply.json["error_msg"]
    assert request_of(reply)


async def test_an_item_in_a_package_of_another_name_is_told_as_it_is(stack: Stack, api_token: str) -> None:
    """Whose item was released before gets the package that it is in, under the name that this has."""
    first = await create(stack, api_token, "26", package_name="one")
    second = await create(stack, api_token, "26", package_name="two")
    mixed = await create(stack, api_token, "26", "27", package_name="three")

    assert first.json == second.json == {"package_name": "one", "release_package_id": "1"}
    assert (mixed.status, mixed.error_code) == (400, "DLF.3051")
    assert "item 26 is in package 1; item 27 is in package 2" in mixed.json["error_msg"]


async def test_an_item_of_another_applicant_is_a_conflict(stack: Stack, api_token: str) -> None:
    """Another applicant's item is refused as an invalid parameter that names the request which has it."""
    first = await create(stack, api_token)
    second = await create(stack, api_token, apply_user_id="somebody-else", package_name="other")

    assert (second.status, second.error_code) == (400, "DLF.3051")
    assert request_of(first) in second.json["error_msg"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pending_item_list": []}, "/pending_item_list"),
        ({"pending_item_list": ["26", "26"]}, "/pending_item_list"),
        ({"pending_item_list": [str(number) for number in range(101)]}, "at most 100"),
        ({"pending_item_list": [26]}, "/pending_item_list/0"),
        ({"approver_ids": []}, "/approver_ids"),
        ({"approver_ids": [APPLICANT]}, "/approver_ids/0"),
        ({"package_name": None}, "/package_name"),
        ({"package_name": "a\nb"}, "/package_name"),
        ({"apply_user_id": None}, "/apply_user_id"),
        ({"apply_user_id": 2**80}, "/apply_user_id"),
    ],
)
async def test_a_body_with_an_error_is_refused_with_the_error(
    stack: Stack, api_token: str, changes: dict[str, object], words: str
) -> None:
    """The vendor says only DLF.3051; here the member and what was expected are named too."""
    reply = await create(stack, api_token, **changes)

    assert (reply.status, reply.error_code) == (400, "DLF.3051")
    assert reply.json["error_msg"].startswith("The request parameter is invalid. ")
    assert words in reply.json["error_msg"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 100]
)
async def test_what_is_no_json_object_is_refused(stack: Stack, api_token: str, body: bytes) -> None:
    """Bytes that cannot be read are an invalid parameter, never a fault of ours."""
    reply = await token_call(stack.url, api_token, body=body).send()

    assert (reply.status, reply.error_code) == (400, "DLF.3051")


async def test_bodies_that_are_not_taken_are_refused_in_the_vendors_form(
    stack: Stack, api_token: str
) -> None:
    """Too large, compressed, of another type or of no type: an error that the vendor's SDKs can read."""
    call = token_call(stack.url, api_token)
    replies = [
        await token_call(stack.url, api_token, body=b" " * (2 << 20)).send(),
        await call.with_headers(Content_Encoding="gzip").send(),
        await call.with_headers(Content_Type="text/plain").send(),
        await call.with_headers(Content_Type=None).send(),
    ]

    assert [(reply.status, reply.error_code) for reply in replies] == [
        (413, "APIGW.0201"),
        (415, "APIGW.0201"),
        (415, "APIGW.0201"),
        (400, "APIGW.0106"),
    ]
    assert all(reply.json["request_id"] == reply.headers["X-Request-Id"] for reply in replies)


async def test_a_workspace_may_be_left_to_the_settings(stack_with: StackWith, api_token: str) -> None:
    """Without the header the default workspace counts; without a default the call is refused."""
    async with stack_with(RELEASE_DEFAULT_WORKSPACE=WORKSPACE) as stack:
        await stack.start_api()
        await stack.start_worker()
        reply = await token_call(stack.url, api_token).with_headers(workspace=None).send()
        packages = await stack.emulator.packages()

    assert reply.status == 200
    assert [package["workspace"] for package in packages] == [WORKSPACE]


HERE = (f"{PROJECT}/{WORKSPACE}",)


def order(*scopes: str, workspaces: Sequence[str] = HERE, apply_user_ids: Sequence[str] = ()) -> KeyOrder:
    return KeyOrder(name="sdk", scopes=scopes, workspaces=workspaces, apply_user_ids=apply_user_ids)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (order("submit"), (200, None)),
        (order("submit", apply_user_ids=[APPLICANT]), (200, None)),
        (order("submit", apply_user_ids=["somebody"]), (403, "APIGW.0302")),
        (order("submit", workspaces=[f"{PROJECT}/other"]), (404, "APIGW.0101")),
        (order("submit", workspaces=["other/*"]), (404, "APIGW.0101")),
        (order("read", "operate", workspaces=["*"]), (403, "APIGW.0302")),
    ],
)
async def test_a_key_opens_what_it_is_for(
    stack: Stack, database_url: str, wanted: KeyOrder, expected: tuple[int, str | None]
) -> None:
    """Scope, workspace and applicant of an access key decide, and what it may not see is not there."""
    key = (await create_access_key(database_url, wanted, sealing_key=SEALING_KEY)).pair
    reply = await signed_call(stack.url, key).send()

    assert (reply.status, reply.json.get("error_code")) == expected


async def test_two_callers_with_one_body_have_a_request_each_and_one_package(
    stack: Stack, api_token: str, database_url: str
) -> None:
    """Bodies belong to their callers; the item is in one package all the same."""
    other = await create_key(database_url, name="other", scopes=["submit"], workspaces=["*"])
    replies = await asyncio.gather(create(stack, api_token), create(stack, other.api_key))

    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].body == replies[1].body
    assert request_of(replies[0]) != request_of(replies[1])
    assert len(await stack.emulator.packages()) == 1


@pytest.mark.parametrize(
    "line",
    [
        "GET /v2/p/factory/nothing",
        "GET /v2/",
        f"GET {CREATE}",
        f"DELETE {CREATE}",
        f"POST {CREATE}/",
        "GET /v2/p/ws/users",
    ],
)
async def test_other_addresses_are_not_published(stack: Stack, api_token: str, line: str) -> None:
    """Whatever else is asked for under /v2 is 404 APIGW.0101, with or without a key."""
    replies = [
        await token_call(stack.url, api_token, line=line, body=b"").send(),
        await token_call(stack.url, "none", line=line, body=b"").send(),
    ]

    assert [(reply.status, reply.error_code) for reply in replies] == [(404, "APIGW.0101")] * 2


async def test_what_was_told_is_counted_in_generations(
    stack: Stack, api_token: str, database_url: str
) -> None:
    """Each delivered refusal begins one generation, however many callers hear of it."""
    await stack.emulator.put_faults({**UNLIMITED, "poisoned_items": ["26"]})
    for _ in range(2):
        replies = await asyncio.gather(*(create(stack, api_token) for _ in range(5)))
        assert {reply.status for reply in replies} == {400}

    assert await fetch_value(database_url, "SELECT generation FROM body_generations") >= 2
    assert await count_requests(database_url) >= 2


async def test_a_key_that_is_used_too_often_is_throttled(
    stack_with: StackWith, access_key: AccessKey
) -> None:
    """The rate of a key holds for access keys too, in the words of the vendor's gateway."""
    async with stack_with(RELEASE_KEY_RATE="0.1", **SHORT) as stack:
        await stack.start_api()
        replies = [
            await signed_call(
                stack.url, access_key, line=f"GET /v2/{PROJECT}/factory/pending-items", body=b""
            ).send()
            for _ in range(3)
        ]

    assert [reply.status for reply in replies] == [200, 429, 429]
    assert replies[1].error_code == "APIGW.0308"
    assert int(replies[1].headers["Retry-After"]) >= 1


async def test_what_has_no_room_to_wait_is_throttled(stack_with: StackWith, api_token: str) -> None:
    """Beyond the cap of a workspace a create is 429, and one that was accepted before is found all the same."""
    async with stack_with(RELEASE_MAX_WAITING_PER_WORKSPACE="1", **SHORT) as stack:
        await stack.start_api()
        first = await create(stack, api_token, "1")
        beyond = await create(stack, api_token, "2")
        again = await create(stack, api_token, "1")

    assert (first.status, again.status) == (504, 504)
    assert request_of(first) == request_of(again)
    assert (beyond.status, beyond.error_code) == (429, "APIGW.0308")
    assert "Retry-After" in beyond.headers
