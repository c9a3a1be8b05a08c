"""The vendor's checks, each with its answer, in the vendor's order."""

import asyncio
from collections import Counter

import pytest
from yarl import URL

from service.emulator.people import USERS
from service.emulator.vendor_call import MAX_BODY_BYTES
from tests.emulator.vendor_caller import CREATE, FACTORY, Reply, VendorCaller, application, exchange
from tests.support.emulator import UNLIMITED, EmulatorProcess

TOO_LARGE = b'"' + b"x" * MAX_BODY_BYTES + b'"'
UNKNOWN_PATH = f"{FACTORY}/pending-items/packages"
WRONG_MEMBERS: list[dict[str, object]] = [
    {"apply_user_id": None},
    {"apply_user_id": ""},
    {"apply_user_id": 1},
    {"package_name": None},
    {"package_name": ["x"]},
    {"pending_item_list": None},
    {"pending_item_list": []},
    {"pending_item_list": "1"},
    {"pending_item_list": [1]},
    {"pending_item_list": ["1", ""]},
    {"pending_item_list": ["1", "1"]},
    {"pending_item_list": [str(number) for number in range(101)]},
    {"approver_ids": None},
    {"approver_ids": []},
    {"approver_ids": [7]},
    {"approver_ids": [USERS[2].user_id]},
    {"approver_ids": [USERS[1].user_id, USERS[4].user_id]},
    {"approver_ids": ["f8ccc2ff3c7748e8a7bfede38ae1cffa"]},
]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", UNKNOWN_PATH), ("GET", CREATE), ("DELETE", CREATE), ("POST", "/v2")]
)
async def test_an_unknown_address_is_not_published(
    vendor_caller: VendorCaller, method: str, path: str
) -> None:
    """A wrong path and a wrong method get the same answer of the gateway."""
    reply = await vendor_caller.send(method, path, body={})

    assert (reply.status, reply.error_code) == (404, "APIGW.0101")
    assert "does not exist or has not been published" in reply.json["error_msg"]


async def test_a_missing_workspace_header_is_refused(vendor_caller: VendorCaller) -> None:
    """The gateway names the header."""
    reply = await vendor_caller.send("POST", CREATE, body=application("1"), headers={"workspace": None})

    assert (reply.status, reply.error_code) == (400, "APIGW.0106")
    assert reply.json["error_msg"] == "Orchestration error: Invalid header parameter: workspace, required"


async def test_a_missing_content_type_is_refused(vendor_caller: VendorCaller) -> None:
    """The gateway names the header."""
    reply = await vendor_caller.send("POST", CREATE, body=application("1"), headers={"Content-Type": None})

    assert (reply.status, reply.error_code) == (400, "APIGW.0106")
    assert "Content-Type, required" in reply.json["error_msg"]


async def test_the_workspace_header_can_be_optional_for_packages(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Leniently, the list of packages needs none and shows the project's; a create still needs it."""
    await vendor_caller.create("1")
    await own_emulator.put_faults({"workspace_header": "lenient"})
    without = VendorCaller(own_emulator.url, workspace=None)

    assert (await without.list_packages())["total"] == 1
    assert (await without.create("2")).error_code == "APIGW.0106"


async def test_a_body_over_twelve_megabytes_is_refused(vendor_caller: VendorCaller) -> None:
    """Twelve megabytes and two bytes are too many, as are twenty."""
    above = await vendor_caller.send("POST", CREATE, body=TOO_LARGE)
    far_above = await vendor_caller.send("POST", CREATE, body=TOO_LARGE + b" " * 8 * 1024 * 1024)

    assert (above.status, above.error_code) == (413, "APIGW.0201")
    assert (far_above.status, far_above.error_code) == (413, "APIGW.0201")


async def test_a_signed_call_must_name_its_project(vendor_caller: VendorCaller) -> None:
    """Without X-Project-Id the service does not find the workspace."""
    reply = await vendor_caller.send("POST", CREATE, body=application("1"), headers={"X-Project-Id": None})

    assert (reply.status, reply.error_code) == (400, "DLF.20819")


async def test_an_unknown_workspace_is_refused(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """With listed items only a workspace that has some exists."""
    await own_emulator.put_faults({"items": "listed"})
    await own_emulator.register_items("ws-with-items", [{"pending_item_id": "1"}])
    known = VendorCaller(own_emulator.url, workspace="ws-with-items")

    assert status_and_code(await vendor_caller.create("1")) == (400, "DLF.20819")
    assert (await known.create("1")).status == 200


async def test_a_wrong_member_is_refused_with_the_catch_all_code(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Missing, empty, of a wrong type, too many, no role, the applicant: all are DLF.3051."""
    for changes in WRONG_MEMBERS:
        reply = await vendor_caller.create("1", **changes)

        assert status_and_code(reply) == (400, "DLF.3051"), changes
        assert reply.json["error_msg"] == "The request parameter is invalid."

    assert await own_emulator.packages() == []


async def test_a_body_that_is_no_object_is_refused(vendor_caller: VendorCaller) -> None:
    """The service calls it an invalid parameter."""
    for body in (b"", b"{", b"[]", b"null", b'"text"'):
        reply = await vendor_caller.send("POST", CREATE, body=body)

        assert status_and_code(reply) == (400, "DLF.3051"), body


async def test_a_hundred_items_are_accepted(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """A hundred is the most that one package takes, and it takes them."""
    items = [str(number) for number in range(100)]
    reply = await vendor_caller.create(*items)

    assert reply.status == 200
    assert [items] == [package["items"] for package in await own_emulator.packages()]


async def test_an_unknown_item_is_refused_where_items_are_listed(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """One unknown item fails the list; the known one alone passes."""
    await own_emulator.put_faults({"items": "listed"})
    await own_emulator.register_items("ws-of-the-tests", [{"pending_item_id": "1"}])

    assert status_and_code(await vendor_caller.create("1", "2")) == (400, "DLF.3051")
    assert (await vendor_caller.create("1")).status == 200


async def test_a_packaged_item_is_refused_by_a_strict_vendor(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """The whole list is refused, until the package that holds the item is revoked."""
    await vendor_caller.create("1")
    refused = await vendor_caller.create("1", "2")
    await own_emulator.settle("1", "revoke")
    accepted = await vendor_caller.create("1", "2")

    assert status_and_code(refused) == (400, "DLF.3051")
    assert accepted.status == 200
    assert (await own_emulator.ledger())["duplicates"] == []


async def test_a_packaged_item_is_accepted_by_a_lax_vendor(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """The item is then in two packages, and the ledger says so."""
    await own_emulator.put_faults({"already_packaged": "lax"})
    await vendor_caller.create("1", "2")
    await vendor_caller.create("2", "3")
    duplicates = (await own_emulator.ledger())["duplicates"]

    assert [(each["workspace"], each["pending_item_id"], each["package_ids"]) for each in duplicates] == [
        ("ws-of-the-tests", "2", ["1", "2"])
    ]


async def test_an_item_of_another_workspace_is_another_item(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """The same id may be packaged once in each workspace."""
    other = VendorCaller(own_emulator.url, workspace="ws-of-others")

    assert [(await vendor_caller.create("1")).status, (await other.create("1")).status] == [200, 200]
    assert (await own_emulator.ledger())["duplicates"] == []


@pytest.mark.parametrize("operation", ["deploy", "unpack"])
async def test_an_unknown_package_is_refused(vendor_caller: VendorCaller, operation: str) -> None:
    """One unknown id fails the whole call."""
    await vendor_caller.create("1")
    path = f"{FACTORY}/release-packages/{operation}"
    reply = await vendor_caller.send("POST", path, body={"package_ids": ["1", "99"]})
    shown = await vendor_caller.send("GET", f"{FACTORY}/release-packages/99")

    assert status_and_code(reply) == (400, "DLF.20810")
    assert status_and_code(shown) == (400, "DLF.20810")


async def test_a_released_package_cannot_be_unpacked(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """After the approval the vendor refuses with DLF.20990."""
    await vendor_caller.create("1")
    await own_emulator.settle("1", "approve")
    reply = await vendor_caller.send(
        "POST", f"{FACTORY}/release-packages/unpack", body={"package_ids": ["1"]}
    )

    assert status_and_code(reply) == (400, "DLF.20990")


async def test_the_user_limit_is_ten_calls_in_a_second(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Of fifteen calls at once ten pass; another operation has a limit of its own."""
    await own_emulator.clear_faults()
    replies = await asyncio.gather(*(vendor_caller.create(str(number)) for number in range(15)))
    listed = await vendor_caller.list_packages()

    assert Counter(reply.status for reply in replies) == {200: 10, 429: 5}
    assert "policy user over ratelimit,limit:10,time:1 second" in refusal(replies).json["error_msg"]
    assert refusal(replies).error_code == "APIGW.0308"
    assert listed["total"] == 10


@pytest.mark.parametrize(
    ("limits", "policy"),
    [({"rate_api": 3}, "policy api over"), ({"rate_workspace": 3}, "policy workspace ws-of-the-tests over")],
)
async def test_other_limits_are_set_and_named(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller, limits: dict[str, int], policy: str
) -> None:
    """The answer names the policy that was exceeded."""
    await own_emulator.put_faults({**UNLIMITED, **limits})
    replies = await asyncio.gather(*(vendor_caller.create(str(number)) for number in range(5)))

    assert Counter(reply.status for reply in replies) == {200: 3, 429: 2}
    assert policy in refusal(replies).json["error_msg"]


async def test_the_checks_come_in_the_vendors_order(own_emulator: EmulatorProcess) -> None:
    """A call that is wrong in every way is refused for the first; mended one by one, for the next."""
    await own_emulator.put_faults({"rate_user": 1, "items": "listed"})
    codes = [await code_with_mended(own_emulator, mended) for mended in range(7)]

    assert codes == [
        "APIGW.0101",
        "APIGW.0301",
        "APIGW.0308",
        "APIGW.0106",
        "APIGW.0201",
        "DLF.20819",
        "DLF.3051",
    ]


@pytest.mark.parametrize("broken", [b"\xff\xfe", "\u2028ü".encode()])
async def test_bytes_that_are_no_text_are_refused_in_the_vendors_form(
    own_emulator: EmulatorProcess, broken: bytes
) -> None:
    """A header with such bytes is a wrong signature, and the ledger still can be read."""
    headers = VendorCaller(own_emulator.url).signed("POST", CREATE, b"{}")
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name != "workspace")
    status = await send_raw(
        own_emulator.url,
        f"POST {CREATE} HTTP/1.1\r\n{head}Content-Length: 2\r\nConnection: close\r\nworkspace: ".encode()
        + broken
        + b"\r\n\r\n{}",
    )

    assert status == b"HTTP/1.1 401 Unauthorized"
    assert [call["status"] for call in await own_emulator.calls()] == [401]


async def code_with_mended(emulator: EmulatorProcess, mended: int) -> str | None:
    """Make a call that is wrong in seven ways, the first so many of them mended."""
    caller = VendorCaller(emulator.url, workspace="ws-of-nobody")
    path = CREATE if mended >= 1 else UNKNOWN_PATH
    data = TOO_LARGE if mended < 5 else b"{}"
    headers = caller.signed("POST", path, data, headers={"workspace": None} if mended < 4 else {})
    if mended < 2:
        headers["Authorization"] = headers["Authorization"][:-64] + "0" * 64
    if mended < 3:
        await caller.send("POST", CREATE, body=b"{}")
    else:
        await emulator.put_faults({**UNLIMITED, "items": "listed"})
    if mended >= 6:
        await emulator.register_items("ws-of-nobody", [{"pending_item_id": "1"}])
    reply = await exchange("POST", URL(emulator.url + path, encoded=True), headers=headers, data=data)
    return reply.error_code


async def send_raw(url: str, data: bytes) -> bytes:
    """Send bytes and return the status line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(url).port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n")[0]


def status_and_code(reply: Reply) -> tuple[int, str | None]:
    """Return what a refusal is told by."""
    return reply.status, reply.error_code


def refusal(replies: list[Reply]) -> Reply:
    """Return one of the throttled answers."""
    return next(reply for reply in replies if reply.status == 429)
