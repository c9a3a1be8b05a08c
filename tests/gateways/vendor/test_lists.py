"""Reading the vendor's lists over real HTTP."""

import pytest
from aiohttp import web

from service.core.outcomes import Throttled
from service.core.signing import Signable, is_signed_by, parse_authorization
from service.gateways.vendor.client import VendorClient
from service.gateways.vendor.lists import Listing, ReadFailed
from service.gateways.vendor.records import PackagedItem, PendingItem, ReleasePackage
from tests.gateways.vendor.raw_server import always, http_answer, raw_server
from tests.gateways.vendor.samples import KEY, PROJECT, WORKSPACE, config
from tests.gateways.vendor.web_server import PACKAGES, PENDING, serving


class Workspace:
    """A vendor's workspace with so many pending items, whose pages count in a chosen way."""

    def __init__(self, total: int, *, step: int) -> None:
        self.total = total
        self.step = step
        self.offsets: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with the page that was asked for."""
        offset = int(request.query["offset"])
        self.offsets.append(offset)
        first = offset * self.step
        ids = range(first, min(first + 100, self.total))
        data = [{"pending_item_id": number, "package_flag": 0} for number in ids]
        return web.json_response({"data": data, "total": self.total})


@pytest.mark.parametrize("step", [1, 100])
@pytest.mark.parametrize("total", [0, 1, 99, 100, 101, 199, 200, 201, 450])
async def test_all_pages_are_read_and_the_style_is_remembered(total: int, step: int) -> None:
    """Every pending item comes once, in either paging style, and the second reading needs no probe."""
    workspace = Workspace(total, step=step)
    async with serving(workspace.answer) as url, VendorClient(config(url)) as client:
        first = await client.list_pending_items(PROJECT, WORKSPACE)
        calls = len(workspace.offsets)
        second = await client.list_pending_items(PROJECT, WORKSPACE)

    assert isinstance(first, Listing)
    assert first.is_complete
    assert [str(number) for number in range(total)] == [item.pending_item_id for item in first.records]
    assert first == second
    pages = max(1, -(-total // 100))
    assert pages == len(workspace.offsets) - calls
    assert calls <= pages + 1


async def test_a_pending_item_is_read_and_the_query_is_signed() -> None:
    """The record has the vendor's members, and the awkward query that asked for it is signed as sent."""
    requests: list[tuple[str, str, dict[str, str]]] = []

    async def handler(request: web.Request) -> web.Response:
        requests.append((request.path, request.raw_path, dict(request.headers)))
        item = {
            "pending_item_id": "26",
            "item_name": "job_1",
            "task_id": "t1",
            "task_type": 1,
            "package_flag": 0,
            "pending_version": 3,
            "submit_user_id": "u1",
            "submit_user_name": "ann",
            "submit_timestamp": 1_764_000_000_000,
            "project_id": "p-workspace-w",
        }
        return web.json_response({"data": [item], "total": 1})

    async with serving(handler) as url, VendorClient(config(url)) as client:
        listing = await client.list_pending_items(PROJECT, WORKSPACE, item_name="jöb /~+&")

    expected = PendingItem(
        pending_item_id="26",
        item_name="job_1",
        task_id="t1",
        task_type=1,
        package_flag=0,
        pending_version=3,
        submit_user_id="u1",
        submit_user_name="ann",
        submit_timestamp=1_764_000_000_000,
    )
    assert Listing(records=(expected,), is_complete=True, has_all_of_start=True) == listing
    assert expected.is_unpackaged
    path, raw_path, headers = requests[0]
    assert path == PENDING
    assert raw_path == f"{PENDING}?item_name=j%C3%B6b%20%2F~%2B%26&limit=100&offset=0"
    query = [("item_name", "jöb /~+&"), ("limit", "100"), ("offset", "0")]
    signature = parse_authorization(headers["Authorization"])
    assert signature is not None
    signed = Signable(method="GET", path=path, query=query, headers=headers, body=b"")
    assert is_signed_by(signed, signature, KEY.secret_key)


async def test_packages_are_found_by_a_part_of_the_name() -> None:
    """The name travels as the key word, and each package comes with what a reconcile compares."""
    bodies: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        bodies.append((request.method, request.path, await request.json()))
        package = {
            "package_id": 13,
            "package_name": "batch_1",
            "deploy_status": 1,
            "delete_flag": 0,
            "apply_user_id": "u1",
            "apply_timestamp": 1_764_000_000_000,
            "package_approvers": [{"user_id": "a1", "user_name": "bob"}],
        }
        return web.json_response({"data": [package], "total": 1})

    async with serving(handler) as url, VendorClient(config(url)) as client:
        listing = await client.find_packages(PROJECT, WORKSPACE, key_word="batch_1")

    expected = ReleasePackage(
        package_id="13",
        package_name="batch_1",
        apply_user_id="u1",
        approver_ids=("a1",),
        deploy_status=1,
        delete_flag=0,
        apply_timestamp=1_764_000_000_000,
    )
    assert Listing(records=(expected,), is_complete=True, has_all_of_start=True) == listing
    assert bodies == [("POST", PACKAGES, {"key_word": "batch_1", "limit": 100, "offset": 0})]


async def test_a_package_is_shown_with_its_items() -> None:
    """The detail of a package names the items in it."""
    shown = {
        "release_package": {"package_id": "13", "package_name": "batch_1"},
        "task_details": [{"pending_item_id": 26, "deploy_status": 1}, {"pending_item_id": "27"}],
    }

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(shown if request.path == f"{PACKAGES}/13" else {})

    async with serving(handler) as url, VendorClient(config(url)) as client:
        detail = await client.show_package(PROJECT, WORKSPACE, package_id="13")

    assert not isinstance(detail, ReadFailed)
    assert detail.package.package_name == "batch_1"
    assert detail.pending_item_ids == {"26", "27"}
    assert detail.items[0] == PackagedItem(pending_item_id="26", deploy_status=1)


async def test_a_list_without_records_may_say_null() -> None:
    """Null in place of the records of an empty list is an empty list."""
    body = http_answer(200, b'{"data":null,"total":0}')
    async with raw_server(always(body)) as server, VendorClient(config(server.url)) as client:
        listing = await client.list_pending_items(PROJECT, WORKSPACE)

    assert Listing(records=(), is_complete=True, has_all_of_start=True) == listing


async def test_a_failure_in_the_middle_fails_the_list() -> None:
    """A list whose second page fails is a failed read, not a short list."""

    async def handler(request: web.Request) -> web.Response:
        if request.query["offset"] != "0":
            return web.json_response({"error_code": "APIGW.0308", "error_msg": ""}, status=429)
        return await Workspace(150, step=1).answer(request)

    async with serving(handler) as url, VendorClient(config(url)) as client:
        read = await client.list_pending_items(PROJECT, WORKSPACE)

    assert isinstance(read, ReadFailed)
    assert isinstance(read.reason, Throttled)


async def test_every_page_asks_for_leave() -> None:
    """The hook is awaited before each call, so that reads obey the rate limiter too."""
    workspace, leaves = Workspace(250, step=1), list[int]()

    async def before_page() -> None:
        leaves.append(len(workspace.offsets))

    async with serving(workspace.answer) as url, VendorClient(config(url)) as client:
        await client.list_pending_items(PROJECT, WORKSPACE, before_page=before_page)

    assert list(range(len(workspace.offsets))) == leaves
