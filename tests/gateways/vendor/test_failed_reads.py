"""Reads that bring nothing, and calls made for somebody else."""

import asyncio

import orjson
import pytest
from aiohttp import web

from service.core.outcomes import InDoubt, NotSent, NotSentCause, Rejected, Throttled
from service.gateways.vendor.calls import VendorCall
from service.gateways.vendor.classify import Failure
from service.gateways.vendor.client import VendorClient
from service.gateways.vendor.lists import ReadFailed
from tests.gateways.vendor.raw_server import always, http_answer, raw_server
from tests.gateways.vendor.samples import PROJECT, WORKSPACE, config
from tests.gateways.vendor.web_server import PACKAGES, serving


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"data":[]}',
        b'{"total":0}',
        b'{"data":{},"total":0}',
        b'{"data":[1],"total":1}',
        b'{"data":[{}],"total":1}',
        b'{"data":[{"package_id":"1"}],"total":1}',
        b'{"data":[],"total":"many"}',
    ],
)
async def test_an_unreadable_list_is_no_empty_list(body: bytes) -> None:
    """A list that is not in the documented form is a failed read: nothing is absent because of it."""
    async with (
        raw_server(always(http_answer(200, body))) as server,
        VendorClient(config(server.url)) as client,
    ):
        pending = await client.list_pending_items(PROJECT, WORKSPACE)
        packages = await client.find_packages(PROJECT, WORKSPACE)
        detail = await client.show_package(PROJECT, WORKSPACE, package_id="1")

    assert {"unreadable_answer"} == {doubt_in(read) for read in (pending, packages, detail)}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "APIGW.0308", Throttled),
        (401, "APIGW.0301", NotSent),
        (503, "APIGW.0613", NotSent),
        (400, "DLF.20810", Rejected),
        (500, "APIGW.0601", InDoubt),
        (302, "", InDoubt),
    ],
)
async def test_a_failed_read_says_why(status: int, code: str, kind: type[Failure]) -> None:
    """A read fails for the same classified reasons as a create."""
    body = http_answer(status, orjson.dumps({"error_code": code, "error_msg": "no"}))
    async with raw_server(always(body)) as server, VendorClient(config(server.url)) as client:
        read = await client.show_package(PROJECT, WORKSPACE, package_id="1")

    assert isinstance(read, ReadFailed)
    assert isinstance(read.reason, kind)


async def test_an_unreachable_vendor_fails_a_read() -> None:
    """A refused connection is a failed read."""
    async with VendorClient(config("http://127.0.0.1:1")) as client:
        read = await client.list_pending_items(PROJECT, WORKSPACE)

    assert isinstance(read, ReadFailed)
    assert isinstance(read.reason, NotSent)
    assert read.reason.cause is NotSentCause.UNREACHABLE


async def test_a_slow_list_ends_at_the_timeout() -> None:
    """A list that does not come fails the read at the call timeout."""

    async def handler(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(handler) as url, VendorClient(config(url, seconds=0.3)) as client:
        read = await client.list_pending_items(PROJECT, WORKSPACE)

    assert doubt_in(read) == "timeout"


async def test_a_forwarded_call_comes_back_untouched() -> None:
    """A call made for somebody else is signed by us, and its answer is the vendor's, byte for byte."""
    call = VendorCall(
        method="POST",
        path=f"{PACKAGES}/deploy",
        body=b'{"package_ids": ["1"]}',
        project_id=PROJECT,
        workspace=WORKSPACE,
        max_bytes=1000,
    )
    odd = always(http_answer(418, b" odd ", x_request_id="r1"))
    async with raw_server(odd) as server, VendorClient(config(server.url)) as client:
        reply = await client.forward(call)

    assert reply.answer is not None
    assert (reply.answer.status, reply.answer.body) == (418, b" odd ")
    assert reply.answer.headers["x-request-id"] == "r1"
    assert reply.failure is not None
    assert server.received.endswith(call.body)
    assert b"Authorization: SDK-HMAC-SHA256 Access=AK1" in server.received


async def test_a_forwarded_call_may_fail() -> None:
    """A call made for somebody else tells when there was no answer."""
    call = VendorCall(method="GET", path="/", project_id=PROJECT, workspace=WORKSPACE, max_bytes=1000)
    async with VendorClient(config("http://127.0.0.1:1")) as client:
        reply = await client.forward(call)

    assert reply.answer is None
    assert isinstance(reply.failure, NotSent)
    assert reply.failure.cause is NotSentCause.UNREACHABLE


def doubt_in(read: object) -> str | None:
    match read:
        case ReadFailed(reason=InDoubt(reason=reason)):
            return reason
        case _:
            return None
