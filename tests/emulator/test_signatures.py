"""Identity: what is refused, in which words, and when a key is locked."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from yarl import URL

from service.core.signing import AccessKey
from service.emulator.authentication import LOCK_SECONDS, SignatureLocks
from tests.emulator.vendor_caller import CREATE, KEY, Reply, VendorCaller, application, exchange
from tests.support.emulator import EmulatorProcess

WRONG_KEY = replace(KEY, secret_key="another-secret")
STRANGER = AccessKey(access_key="NOBODYSACCESSKEY0001", secret_key="x")


async def test_a_wrong_secret_is_refused_with_the_canonical_request(own_emulator: EmulatorProcess) -> None:
    """The gateway shows what it would have signed, with bars for line ends."""
    reply = await VendorCaller(own_emulator.url, key=WRONG_KEY).create("1")

    assert (reply.status, reply.error_code) == (401, "APIGW.0301")
    assert f"verify aksk signature fail,canonicalRequest:POST|{CREATE}/||" in reply.json["error_msg"]
    assert reply.headers["X-Request-Id"] == reply.json["request_id"]
    assert await own_emulator.packages() == []


async def test_an_unknown_access_key_is_refused(own_emulator: EmulatorProcess) -> None:
    """The text names the key."""
    reply = await VendorCaller(own_emulator.url, key=STRANGER).create("1")

    assert (reply.status, reply.error_code) == (401, "APIGW.0301")
    assert "ak NOBODYSACCESSKEY0001 not exist" in reply.json["error_msg"]


async def test_a_call_without_credentials_is_refused(own_emulator: EmulatorProcess) -> None:
    """Neither signature nor token: 401."""
    reply = await VendorCaller(own_emulator.url, key=None).create("1")

    assert (reply.status, reply.error_code) == (401, "APIGW.0301")
    assert "x-auth-token not found" in reply.json["error_msg"]


async def test_authentication_can_be_switched_off(own_emulator: EmulatorProcess) -> None:
    """Without authentication a bare call passes, and a wrong signature is refused all the same."""
    await own_emulator.put_faults({"authentication": "off"})
    bare = await VendorCaller(own_emulator.url, key=None).create("1")
    wrong = await VendorCaller(own_emulator.url, key=WRONG_KEY).create("2")

    assert (bare.status, wrong.status) == (200, 401)


@pytest.mark.parametrize("target", ["nothing", "body", "query", "header", "path"])
async def test_a_changed_request_is_refused(own_emulator: EmulatorProcess, target: str) -> None:
    """Whatever is signed cannot be changed on the way; unchanged, the same call passes."""
    reply = await send_changed(own_emulator.url, target)
    expected = (200, None, 1) if target == "nothing" else (401, "APIGW.0301", 0)

    assert expected == (reply.status, reply.error_code, len(await own_emulator.packages()))


@pytest.mark.parametrize(("minutes", "status"), [(14, 200), (-14, 200), (16, 401), (-16, 401)])
async def test_the_date_must_be_within_a_quarter_of_an_hour(
    own_emulator: EmulatorProcess, minutes: int, status: int
) -> None:
    """Fourteen minutes either way pass, sixteen do not."""
    caller = VendorCaller(own_emulator.url, skew=timedelta(minutes=minutes))

    assert status == (await caller.create("1")).status


async def test_more_than_five_failures_in_a_row_lock_the_key(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """After the sixth failure the right secret is refused too."""
    wrong = VendorCaller(own_emulator.url, key=WRONG_KEY)
    failures = [(await wrong.create("1")).json["error_msg"] for _ in range(6)]
    reply = await vendor_caller.create("1")

    assert all("verify aksk signature fail" in text for text in failures)
    assert (reply.status, reply.error_code) == (401, "APIGW.0301")
    assert "AK access failed to reach the limit, forbidden" in reply.json["error_msg"]


async def test_a_success_ends_the_row_of_failures(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Five failures, a success and five more failures lock nothing."""
    wrong = VendorCaller(own_emulator.url, key=WRONG_KEY)
    for item in ("1", "2"):
        for _ in range(5):
            await wrong.create(item)
        reply = await vendor_caller.create(item)

        assert reply.status == 200


def test_a_lock_ends_after_five_minutes() -> None:
    """The key is locked to the end of the fifth minute, then its failures count afresh."""
    locks = SignatureLocks()
    for _ in range(6):
        locks.fail("key", 100.0)

    assert locks.is_locked("key", 100.0 + LOCK_SECONDS - 1)
    assert not locks.is_locked("key", 100.0 + LOCK_SECONDS)
    assert not locks.is_locked("other", 100.0)


async def test_a_query_and_an_escaped_path_are_verified(vendor_caller: VendorCaller) -> None:
    """Awkward characters arrive as they were signed."""
    shown = await vendor_caller.send(
        "GET", f"{CREATE.removesuffix('/package')}", query=[("item_name", "ü ~/+&=张"), ("limit", "5")]
    )
    missing = await vendor_caller.send("GET", f"{CREATE.split('/pending')[0]}/release-packages/a%20b")

    assert shown.status == 200
    assert missing.error_code == "DLF.20810"


async def send_changed(url: str, target: str) -> Reply:
    """Sign a create call, change one part, and send it."""
    body = json.dumps(application("1")).encode()
    headers = VendorCaller(url).signed("POST", CREATE, body)
    path = CREATE.replace("/v2/6", "/v2/7") if target == "path" else CREATE
    query = "?x=1" if target == "query" else ""
    workspace = {"workspace": "ws-of-another"} if target == "header" else {}
    data = body.replace(b"package_of", b"package-of") if target == "body" else body
    address = URL(f"{url}{path}{query}", encoded=True)
    return await exchange("POST", address, headers={**headers, **workspace}, data=data)
