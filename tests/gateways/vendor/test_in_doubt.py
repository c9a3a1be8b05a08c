"""Calls that break after the write: in doubt, within bounds, and never made again."""

import asyncio
import time
import tracemalloc

import pytest

from service.core.outcomes import Released
from service.gateways.vendor.client import VendorClient
from tests.gateways.vendor.calling import (
    create,
    doubt_in,
    everything_sent_so_far_is_read,
)
from tests.gateways.vendor.raw_server import (
    RawConnection,
    Script,
    always,
    created,
    http_answer,
    raw_server,
    silence,
)
from tests.gateways.vendor.samples import batch, config, in_a_minute


async def hang_up(connection: RawConnection) -> None:
    await connection.request()
    connection.close()


async def reset(connection: RawConnection) -> None:
    await connection.request()
    connection.reset()


async def half_an_answer(connection: RawConnection) -> None:
    await connection.request()
    await connection.say(created()[:-5])


async def half_a_head(connection: RawConnection) -> None:
    await connection.request()
    await connection.say(created()[:20])


async def reset_in_the_body(connection: RawConnection) -> None:
    await connection.request()
    await connection.say(created()[:-5])
    connection.reset()


async def babble(connection: RawConnection) -> None:
    await connection.request()
    await connection.say(b"\x00\x01 this is not HTTP\r\n\r\n")


async def endless_head(connection: RawConnection) -> None:
    await connection.request()
    await connection.say(b"HTTP/1.1 200 OK\r\n" + b"x-filler: " + b"x" * 100_000)
    await connection.rest()


async def compressed(connection: RawConnection) -> None:
    await connection.request()
    await connection.say(http_answer(200, b"\x1f\x8b\x08\x00" + b"\x00" * 40, content_encoding="gzip"))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (hang_up, "connection_lost"),
        (reset, "connection_lost"),
        (half_a_head, "connection_lost"),
        (babble, "connection_lost"),
        (endless_head, "connection_lost"),
        (half_an_answer, "broken_answer"),
        (reset_in_the_body, "broken_answer"),
        (compressed, "no_release_package_id"),
    ],
)
async def test_a_call_that_breaks_after_the_write_is_in_doubt(script: Script, reason: str) -> None:
    """Once the request was written, whatever breaks leaves the call in doubt, and it is not made again."""
    async with raw_server(script) as server:
        report = await create(server)

    assert reason == doubt_in(report)
    assert report.sent_at is not None
    assert server.received.count(b"POST ") == 1


async def drip(connection: RawConnection) -> None:
    await connection.request()
    for byte in http_answer(200, b" " * 10_000):
        await connection.say(bytes([byte]))
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("script", [silence, drip])
async def test_a_slow_vendor_costs_one_timeout(script: Script) -> None:
    """Silence or a drip of bytes ends at the call timeout, in doubt."""
    async with raw_server(script) as server:
        began = time.monotonic()
        report = await create(server, seconds=0.5)
        took = time.monotonic() - began

    assert doubt_in(report) in {"timeout", "broken_answer"}
    assert 0.5 <= took < 1.5


@pytest.mark.parametrize("head", [b"content-length: 1073741824", b"x-endless: yes"])
async def test_a_huge_answer_is_cut_off(head: bytes) -> None:
    """An answer without end is read up to the limit only, is in doubt, and closes its connection."""

    async def flood(connection: RawConnection) -> None:
        await connection.request()
        await connection.say(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        while True:
            await connection.say(b"x" * 65_536)

    async with raw_server(flood) as server:
        tracemalloc.start()
        try:
            report = await create(server)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await server.all_ended()

    assert doubt_in(report) == "broken_answer"
    assert peak < 8 << 20


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """A redirect is in doubt, and nobody goes where it points."""
    async with raw_server(always(created())) as target:
        redirect = http_answer(status, b"", location=f"{target.url}/elsewhere")
        async with raw_server(always(redirect)) as server:
            report = await create(server)

    assert doubt_in(report) == "redirect"
    assert target.connections == []
    assert server.received.count(b"HTTP/1.1\r\n") == 1


async def test_a_create_never_rides_on_a_kept_connection() -> None:
    """A vendor that drops kept connections at their second request leaves no create in doubt."""

    async def answer_once(connection: RawConnection) -> None:
        await connection.request()
        await connection.say(created())
        await connection.request()
        connection.reset()

    async with raw_server(answer_once) as server, VendorClient(config(server.url)) as client:
        reports = [await client.create_package(batch(), deadline=in_a_minute()) for _ in range(2)]

    assert all(isinstance(report.outcome, Released) for report in reports)
    assert [connection.received.count(b"POST ") for connection in server.connections] == [1, 1]


async def test_a_kept_connection_that_was_closed_is_replaced() -> None:
    """A kept connection that the vendor closed meanwhile is not used; the call goes over a new one, once."""

    async def answer_and_close(connection: RawConnection) -> None:
        await connection.request()
        await connection.say(created())

    async with raw_server(answer_and_close) as server, VendorClient(config(server.url)) as client:
        first = await client.create_package(batch(), deadline=in_a_minute())
        await server.all_ended()
        await everything_sent_so_far_is_read()
        second = await client.create_package(batch(), deadline=in_a_minute())

    assert isinstance(first.outcome, Released)
    assert isinstance(second.outcome, Released)
    assert [connection.received.count(b"POST ") for connection in server.connections] == [1, 1]
