"""Every fault: what the client hears, and what the ledger says really happened."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from yarl import URL

from tests.emulator.vendor_caller import (
    CREATE,
    FACTORY,
    WORKSPACE,
    VendorCaller,
    application,
    create_many,
    exchange,
)
from tests.support.emulator import UNLIMITED, EmulatorProcess
from tests.support.waiting import eventually

TOKEN_REQUEST = {
    "auth": {
        "identity": {
            "methods": ["password"],
            "password": {
                "user": {
                    "name": "emulator",
                    "password": "emulator-password",
                    "domain": {"name": "emulator-domain"},
                }
            },
        },
        "scope": {"project": {"name": "cn-north-4"}},
    }
}


@pytest.mark.parametrize(
    ("fault", "status", "error_code", "executed"),
    [
        ("429", 429, "APIGW.0308", False),
        ("500_before", 500, "APIGW.0601", False),
        ("500_after", 500, "APIGW.0601", True),
        ("502_before", 502, "APIGW.0202", False),
        ("502_after", 502, "APIGW.0202", True),
        ("503_before", 503, "APIGW.0613", False),
        ("504_before", 504, "APIGW.0203", False),
        ("504_after", 504, "APIGW.0203", True),
        ("signature_refused", 401, "APIGW.0301", False),
    ],
)
async def test_an_error_of_the_gateway_says_nothing_about_the_effect(
    own_emulator: EmulatorProcess, fault: str, status: int, error_code: str, *, executed: bool
) -> None:
    """The answer has the gateway's code; the ledger tells whether the package was made."""
    await own_emulator.put_faults({"rules": [{"fault": fault, "count": 1}]})
    caller = VendorCaller(own_emulator.url)
    reply = await caller.create("1")
    [call] = await own_emulator.calls()

    assert (status, error_code) == (reply.status, reply.error_code)
    assert reply.headers["X-Request-Id"] == reply.json["request_id"] == call["request_id"]
    assert (status, executed, fault) == (call["status"], call["executed"], call["fault"])
    assert int(executed) == len(await own_emulator.packages())
    assert (400 if executed else 200) == (await caller.create("1")).status


@pytest.mark.parametrize(
    ("fault", "status", "body", "executed"),
    [
        ("503_after", 503, b"upstream connect error", True),
        ("html_502", 502, b"<h1>502 Bad Gateway</h1>", True),
        ("garbage_200", 200, b"<<<", True),
        ("empty_200", 200, b"", True),
        ("no_id_200", 200, b'{"package_name":"package_of_1"}', True),
        ("redirect_302", 302, b"", False),
    ],
)
async def test_a_foreign_answer_says_nothing_about_the_effect(
    own_emulator: EmulatorProcess, fault: str, status: int, body: bytes, *, executed: bool
) -> None:
    """Answers that are not the vendor's form still come with its request id."""
    await own_emulator.put_faults({"rules": [{"fault": fault}]})
    reply = await VendorCaller(own_emulator.url).create("1")

    assert status == reply.status
    assert reply.body.endswith(body) if not body else body in reply.body
    assert len(reply.headers["X-Request-Id"]) == 32
    assert b"release_package_id" not in reply.body
    assert int(executed) == len(await own_emulator.packages())


@pytest.mark.parametrize(("fault", "executed"), [("drop_before", False), ("drop_after", True)])
async def test_a_dropped_connection_says_nothing_about_the_effect(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller, fault: str, *, executed: bool
) -> None:
    """The connection closes without an answer, before or after the package is made."""
    await own_emulator.put_faults({"rules": [{"fault": fault}]})
    with pytest.raises(aiohttp.ClientConnectionError):
        await vendor_caller.create("1")
    [call] = await own_emulator.calls()

    assert (None, executed) == (call["status"], call["executed"])
    assert int(executed) == len(await own_emulator.packages())


@pytest.mark.parametrize("fault", ["drop_before", "429", "500_before"])
async def test_an_item_was_pending_before_the_call_that_failed(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller, fault: str
) -> None:
    """Where any item exists, the list shows what was asked for, not packaged, also after a restart."""
    await own_emulator.put_faults({"rules": [{"fault": fault}]})
    with suppress(aiohttp.ClientConnectionError):
        await vendor_caller.create("1", "2")
    await own_emulator.restart()
    listed = await vendor_caller.list_pending_items()

    assert [(item["pending_item_id"], item["package_flag"]) for item in listed["data"]] == [
        ("1", 0),
        ("2", 0),
    ]


async def test_a_late_effect_comes_after_the_connection_is_gone(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """At first there is no package; after the time there is."""
    await own_emulator.put_faults({"rules": [{"fault": "late_effect", "seconds": 0.5}]})
    with pytest.raises(aiohttp.ClientConnectionError):
        await vendor_caller.create("1")
    at_once = await own_emulator.packages()
    [package] = await eventually(own_emulator.packages, what="the late package")
    [call] = await own_emulator.calls()

    assert at_once == []
    assert package["at"] - call["at"] >= 0.5
    assert (call["status"], call["executed"]) == (None, True)


async def test_a_late_effect_is_refused_by_a_strict_vendor_when_the_item_is_packaged_by_then(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Whether the effect comes is decided when it comes: a lax vendor makes a second package."""
    expected = {"strict": 1, "lax": 2}
    packages = {
        mode: await packages_after_a_resend(own_emulator, vendor_caller, mode) for mode in ("strict", "lax")
    }

    assert expected == packages


async def test_a_call_hangs_until_the_client_goes(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """The package is made at once; the call ends when the client does."""
    await own_emulator.put_faults({"rules": [{"fault": "hang_after", "count": 1}]})
    waiting = asyncio.create_task(vendor_caller.create("1"))
    await eventually(own_emulator.packages, what="the package")
    [running] = await own_emulator.calls()
    waiting.cancel()
    [ended] = await eventually(lambda: ended_calls(own_emulator), what="the end of the call")

    assert (running["ended"], running["executed"], running["fault"]) == (None, True, "hang_after")
    assert None is ended["status"]


async def test_a_slow_body_takes_its_time(own_emulator: EmulatorProcess) -> None:
    """The headers come at once, the body in small pieces over the seconds asked for, and it is whole."""
    await own_emulator.put_faults({"rules": [{"fault": "slow_body", "seconds": 0.6}]})
    pieces = await read_pieces(own_emulator.url)

    assert b'"release_package_id":"1"}' in b"".join(piece for _, piece in pieces)
    assert len(pieces) > 5
    assert pieces[-1][0] - pieces[0][0] > 0.5


async def test_half_an_answer_ends_in_the_middle(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """The promised length does not come."""
    await own_emulator.put_faults({"rules": [{"fault": "half_answer"}]})
    with pytest.raises(aiohttp.ClientPayloadError):
        await vendor_caller.create("1")

    assert len(await own_emulator.packages()) == 1


async def test_a_huge_answer_has_a_hundred_megabytes(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Whoever reads it all finds the id at its end."""
    await own_emulator.put_faults({"rules": [{"fault": "huge_200"}]})
    reply = await vendor_caller.create("1")

    assert len(reply.body) > 100 * 1024 * 1024
    assert reply.body.endswith(b'"release_package_id":"1"}')


@pytest.mark.parametrize("retry_after", [None, "3", "date:3", "garbage"])
async def test_a_throttled_answer_has_the_header_that_was_asked_for(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller, retry_after: str | None
) -> None:
    """Retry-After is absent, seconds, a date in some seconds, or nonsense."""
    await own_emulator.put_faults({"rules": [{"fault": "429", "retry_after": retry_after}]})
    reply = await vendor_caller.create("1")
    given = reply.headers.get("Retry-After")

    if retry_after == "date:3":
        assert abs(parsedate_to_datetime(given or "").timestamp() - time.time() - 3) < 2
    else:
        assert retry_after == given


async def test_a_throttle_of_a_workspace_names_it(own_emulator: EmulatorProcess) -> None:
    """Only the workspace of the rule is throttled, and the text says which."""
    await own_emulator.put_faults({"rules": [{"fault": "429", "workspace": "ws-a"}]})
    throttled = await VendorCaller(own_emulator.url, workspace="ws-a").create("1")
    passed = await VendorCaller(own_emulator.url, workspace="ws-b").create("1")

    assert (throttled.status, passed.status) == (429, 200)
    assert "policy workspace ws-a over ratelimit" in throttled.json["error_msg"]


async def test_an_expired_token_is_refused_and_a_new_one_passes(own_emulator: EmulatorProcess) -> None:
    """A token serves for its life; the injected expiry has the code that asks for a new one."""
    await own_emulator.put_faults({"token_seconds": 1})
    short = await fetch_token(own_emulator.url)
    passed = await create_with_token(own_emulator.url, short, "1")
    expired = await eventually(
        lambda: refused_with_token(own_emulator.url, short), what="the end of the token"
    )
    await own_emulator.put_faults({"rules": [{"fault": "token_expired", "count": 1}]})
    fresh = await fetch_token(own_emulator.url)
    injected = await create_with_token(own_emulator.url, fresh, "2")
    again = await create_with_token(own_emulator.url, fresh, "2")

    assert passed == (200, None)
    assert expired == "APIGW.0301"
    assert injected == (401, "APIGW.0307")
    assert again == (200, None)


async def test_an_expired_token_does_not_befall_signed_calls(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """A caller with a signature has no token that could expire."""
    await own_emulator.put_faults({"rules": [{"fault": "token_expired"}]})

    assert (await vendor_caller.create("1")).status == 200


async def test_a_wrong_password_gets_no_token(own_emulator: EmulatorProcess) -> None:
    """IAM's errors are nested; a token of our own making is refused."""
    request = str(TOKEN_REQUEST).replace("'", '"')
    wrong = request.replace("emulator-password", "guess").encode()
    url = URL(f"{own_emulator.url}/v3/auth/tokens")
    refused = await exchange("POST", url, headers={"Content-Type": "application/json"}, data=wrong)
    forged = await create_with_token(own_emulator.url, "Zm9yZ2Vk.0000", "1")

    assert (
        refused.status,
        refused.json["error"]["message"],
    ) == (401, "The username or password is wrong.")
    assert forged == (401, "APIGW.0301")


async def test_a_rule_befalls_only_what_it_names(own_emulator: EmulatorProcess) -> None:
    """Workspace, operation and item narrow a rule; the default operation is the create call."""
    rules = [
        {"fault": "500_before", "workspace": "ws-a"},
        {"fault": "502_before", "item": "7"},
        {"fault": "504_before", "operation": "list_packages"},
    ]
    await own_emulator.put_faults({"rules": rules, **UNLIMITED})
    in_a, in_b = (VendorCaller(own_emulator.url, workspace=workspace) for workspace in ("ws-a", "ws-b"))

    assert (await in_a.create("1")).status == 500
    assert (await in_b.create("6", "7")).status == 502
    assert (await in_b.create("1")).status == 200
    assert (await in_b.list_packages())["error_code"] == "APIGW.0203"
    assert (await in_a.list_pending_items())["total"] == 1


async def test_a_rule_without_operation_befalls_every_call(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Null means all operations."""
    await own_emulator.put_faults({"rules": [{"fault": "502_before", "operation": None}]})

    assert (await vendor_caller.create("1")).status == 502
    assert (await vendor_caller.list_packages())["error_code"] == "APIGW.0202"
    assert (await vendor_caller.list_pending_items())["error_code"] == "APIGW.0202"


async def test_a_count_is_used_up_then_the_next_rule_has_its_turn(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Two of the first, one of the second, then none."""
    rules = [{"fault": "500_before", "count": 2}, {"fault": "502_before", "count": 1}]
    await own_emulator.put_faults({"rules": rules})

    assert [(await vendor_caller.create("1")).status for _ in range(4)] == [500, 500, 502, 200]


async def test_a_share_is_hit_and_repeats_with_its_seed(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """The same seed decides the same for the same calls, another seed otherwise."""
    runs = [await statuses_of_thirty(own_emulator, vendor_caller, seed) for seed in (1, 1, 2)]

    assert runs[0] == runs[1] != runs[2]
    assert 3 < Counter(runs[0])[500] < 27


async def test_latency_is_between_the_effect_and_the_answer(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """The answer takes as long as asked for; the package is made at once."""
    await own_emulator.put_faults({"latency_seconds": 0.3})
    await vendor_caller.create("1")
    [call] = await own_emulator.calls()
    [package] = await own_emulator.packages()

    assert call["ended"] - call["started"] >= 0.3
    assert package["at"] - call["at"] < 0.3


async def test_a_poisoned_item_fails_the_list_without_being_named(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """The list is refused as a whole; without the item it passes."""
    await own_emulator.put_faults({"poisoned_items": ["2"]})
    refused = await vendor_caller.create("1", "2", "3")
    accepted = await vendor_caller.create("1", "3")

    assert (
        refused.status,
        refused.error_code,
        refused.json["error_msg"],
    ) == (400, "DLF.3051", "The request parameter is invalid.")
    assert accepted.status == 200
    assert [package["items"] for package in await own_emulator.packages()] == [["1", "3"]]


async def test_a_refused_call_stays_refused_behind_a_fault(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """A fault after the effect hides the service's refusal, and makes no package of it."""
    await own_emulator.put_faults({"poisoned_items": ["2"], "rules": [{"fault": "502_after"}]})
    reply = await vendor_caller.create("2")
    [call] = await own_emulator.calls()

    assert (reply.status, call["executed"]) == (502, False)
    assert await own_emulator.packages() == []


async def test_the_lists_lag_behind(own_emulator: EmulatorProcess, vendor_caller: VendorCaller) -> None:
    """A new package is not in the list, nor its item flagged, for a while; by its id it is shown."""
    await own_emulator.put_faults({**UNLIMITED, "list_lag_seconds": 0.7})
    await vendor_caller.create("1")
    early = await vendor_caller.list_packages()
    early_items = await vendor_caller.list_pending_items()
    shown = await vendor_caller.send("GET", f"{FACTORY}/release-packages/1")
    await eventually(lambda: listed_total(vendor_caller), what="the package in the list")
    items = await vendor_caller.list_pending_items()

    assert (early["total"], early["data"]) == (0, [])
    assert (early_items["data"][0]["package_flag"], items["data"][0]["package_flag"]) == (0, 1)
    assert shown.status == 200


@pytest.mark.parametrize(
    ("paging", "pages"), [("page", [["5", "4"], ["3", "2"]]), ("record", [["5", "4"], ["4", "3"]])]
)
async def test_an_offset_counts_pages_or_records(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller, paging: str, pages: list[list[str]]
) -> None:
    """The switch decides what the second page begins with."""
    await own_emulator.put_faults({**UNLIMITED, "paging": paging})
    for item in "abcde":
        await vendor_caller.create(item)
    answers = [await vendor_caller.list_packages(limit=2, offset=offset) for offset in (0, 1)]

    assert pages == [[package["package_id"] for package in answer["data"]] for answer in answers]
    assert [answer["total"] for answer in answers] == [5, 5]


async def test_the_list_of_packages_is_filtered(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """By a part of the name, by the time of the application, by state; oldest first if asked."""
    for name in ("alpha_1", "beta_2", "alpha_3"):
        await vendor_caller.create(name, package_name=name)
    await own_emulator.settle("3", "approve")
    second = (await own_emulator.packages())[1]
    moment = int(second["at"] * 1000)
    wanted: list[tuple[dict[str, object], list[str]]] = [
        ({"key_word": "alpha"}, ["3", "1"]),
        ({"key_word": "alpha", "sorted_direction": "asc"}, ["1", "3"]),
        ({"deploy_status_filter": [2]}, ["3"]),
        ({"deploy_status_filter": [1, 5], "key_word": "beta"}, ["2"]),
        ({"apply_begin_time": moment, "apply_end_time": moment, "key_word": "beta"}, ["2"]),
        ({"apply_end_time": moment - 60_000}, []),
    ]

    for filters, expected in wanted:
        found = [package["package_id"] for package in (await vendor_caller.list_packages(**filters))["data"]]

        assert expected == found, filters


async def packages_after_a_resend(emulator: EmulatorProcess, caller: VendorCaller, mode: str) -> int:
    """Send a call whose effect is late, send it again at once, and count packages when both are through."""
    await emulator.put_faults(
        {"already_packaged": mode, "rules": [{"fault": "late_effect", "seconds": 0.3, "count": 1}]}
    )
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.create(mode)
    await caller.create(mode)
    # A later late effect of another item: when it is there, the first had its turn.
    await emulator.patch_faults({"rules": [{"fault": "late_effect", "seconds": 0.3, "count": 1}]})
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.create(f"{mode}-after")

    async def has_come() -> bool:
        return any(package["items"] == [f"{mode}-after"] for package in await emulator.packages())

    await eventually(has_come, what="the second late effect")
    return sum(package["items"] == [mode] for package in await emulator.packages())


async def ended_calls(emulator: EmulatorProcess) -> list[dict[str, object]]:
    """Return the create calls that have ended."""
    return [call for call in await emulator.calls() if call["ended"] is not None]


async def read_pieces(url: str) -> list[tuple[float, bytes]]:
    """Make a create call and return the pieces of the body with the time of each."""
    body = str(application("1")).replace("'", '"').encode()
    headers = VendorCaller(url).signed("POST", CREATE, body)
    async with aiohttp.request("POST", url + CREATE, headers=headers, data=body) as response:
        return [(time.monotonic(), piece) async for piece, _ in response.content.iter_chunks()]


async def statuses_of_thirty(emulator: EmulatorProcess, caller: VendorCaller, seed: int) -> list[int]:
    """Make thirty calls, half of which fail."""
    rule = {"fault": "500_before", "share": 0.5}
    await emulator.put_faults({**UNLIMITED, "already_packaged": "lax", "seed": seed, "rules": [rule]})
    return await create_many(caller, 30, at_once=1)


async def listed_total(caller: VendorCaller) -> int:
    """Return how many packages the list has."""
    total: int = (await caller.list_packages())["total"]
    return total


async def fetch_token(url: str) -> str:
    """Ask IAM for a token."""
    data = str(TOKEN_REQUEST).replace("'", '"').encode()
    headers = {"Content-Type": "application/json;charset=utf8"}
    reply = await exchange("POST", URL(f"{url}/v3/auth/tokens?nocatalog=true"), headers=headers, data=data)
    assert reply.status == 201
    assert reply.json["token"]["expires_at"].endswith("Z")
    return reply.headers["X-Subject-Token"]


async def create_with_token(url: str, token: str, item: str) -> tuple[int, str | None]:
    """Make a create call with a token; return status and error code."""
    caller = VendorCaller(url, key=None)
    reply = await caller.send("POST", CREATE, body=application(item), headers={"X-Auth-Token": token})
    return reply.status, reply.error_code


async def refused_with_token(url: str, token: str) -> str | None:
    """Return the error code as soon as a list call with the token is refused."""
    caller = VendorCaller(url, key=None, workspace=WORKSPACE)
    path = f"{FACTORY}/release-packages"
    reply = await caller.send("POST", path, body={}, headers={"X-Auth-Token": token})
    return reply.error_code if reply.status == 401 else None
