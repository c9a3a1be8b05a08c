"""Calls that certainly had no effect: nothing of them was written."""

import asyncio
import dataclasses
import os
import ssl
import subprocess
import time
from pathlib import Path
from shutil import which

import pytest

from service.core.outcomes import NotSentCause, Released
from service.gateways.vendor.client import VendorClient
from service.gateways.vendor.hooks import Hooks
from tests.gateways.vendor.calling import (
    assert_lease_lost,
    assert_not_sent,
    client_of,
    create,
    everything_sent_so_far_is_read,
)
from tests.gateways.vendor.raw_server import (
    RawConnection,
    always,
    created,
    raw_server,
    read_all,
    silence,
)
from tests.gateways.vendor.samples import batch, config, in_a_minute
from tests.support.waiting import eventually


async def test_a_late_request_is_not_written() -> None:
    """After the lease's end a new connection carries not one byte, and it is closed."""
    async with raw_server(read_all) as server, VendorClient(config(server.url)) as client:
        report = await client.create_package(batch(), deadline=time.monotonic())
        await server.all_ended()

        assert len(server.connections) == 1
        assert server.received == b""
    assert_lease_lost(report)


async def test_a_late_request_is_not_written_after_one_in_time() -> None:
    """After the lease's end the connection that was made carries nothing, and it is closed."""
    async with raw_server(always(created())) as server, VendorClient(config(server.url)) as client:
        first = await client.create_package(batch(), deadline=in_a_minute())
        so_far = server.received
        report = await client.create_package(batch(), deadline=time.monotonic())
        await server.all_ended()

        assert isinstance(first.outcome, Released)
        assert so_far == server.received
    assert_lease_lost(report)


async def test_a_request_that_was_stopped_meanwhile_is_not_written() -> None:
    """When such calls are stopped while the connection is made, it carries not one byte, and it is closed."""

    async def is_held() -> bool:
        return len(server.connections) == 1

    async with raw_server(read_all) as server, VendorClient(config(server.url)) as client:
        report = await client.create_package(batch(), deadline=in_a_minute(), is_held=is_held)
        await server.all_ended()

        assert server.received == b""
    assert_not_sent(report, NotSentCause.HELD)


async def test_the_lease_is_looked_at_when_the_connection_is_there() -> None:
    """A lease that ends while the call waits for a connection stops it, though it was good before."""
    may_answer = asyncio.Event()

    async def answer_late(connection: RawConnection) -> None:
        await connection.request()
        await may_answer.wait()
        await connection.say(created())
        await connection.rest()

    async with raw_server(answer_late) as server, client_of(server, max_connections=1) as client:
        first = asyncio.create_task(client.create_package(batch(), deadline=in_a_minute()))
        await eventually(lambda: server.received)
        so_far = server.received
        deadline = time.monotonic() + 0.2
        second = asyncio.create_task(client.create_package(batch(), deadline=deadline))
        await eventually(lambda: time.monotonic() > deadline)
        may_answer.set()
        reports = await asyncio.gather(first, second)
        await server.all_ended()

    assert isinstance(reports[0].outcome, Released)
    assert_lease_lost(reports[1])
    assert so_far == server.received


async def test_the_hook_runs_between_the_last_look_and_the_write() -> None:
    """The hook runs once per written request, before its first byte, and not at all for a late one."""
    seen: list[bytes] = []
    async with raw_server(always(created())) as server:
        hook = lambda: seen.append(server.received)  # noqa: E731 - one line says it
        async with VendorClient(config(server.url), hooks=Hooks(before_write=hook)) as client:
            await client.create_package(batch(), deadline=in_a_minute())
            await client.create_package(batch(), deadline=time.monotonic())

    assert seen == [b""]


async def test_an_answer_that_came_unasked_is_nobodys_answer() -> None:
    """What the vendor says beyond its answer is not taken for the answer to the next create."""

    async def answer_twice(connection: RawConnection) -> None:
        await connection.request()
        await connection.say(created("13") + created("99"))
        await connection.rest()

    async with raw_server(answer_twice) as server, VendorClient(config(server.url)) as client:
        reports = [await client.create_package(batch(), deadline=in_a_minute()) for _ in range(2)]

    ids = [report.outcome.release_package_id for report in reports if isinstance(report.outcome, Released)]
    assert ids == ["13", "13"]
    assert server.received.count(b"POST ") == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://name.invalid"])
async def test_no_connection_is_not_sent(url: str) -> None:
    """A refused connection and an unknown name prove that nothing was sent."""
    async with VendorClient(config(url)) as client:
        report = await client.create_package(batch(), deadline=in_a_minute())

    assert_not_sent(report, NotSentCause.UNREACHABLE)


async def test_a_slow_connection_is_not_sent() -> None:
    """A TLS handshake that does not come to an end proves that nothing was sent."""
    async with (
        raw_server(read_all) as server,
        VendorClient(config(f"https://127.0.0.1:{server.port}", seconds=0.3)) as client,
    ):
        report = await client.create_package(batch(), deadline=in_a_minute())

    assert_not_sent(report, NotSentCause.UNREACHABLE)
    assert b"POST" not in server.received


@pytest.mark.skipif(which("openssl") is None, reason="openssl makes the certificate")
async def test_a_foreign_certificate_is_not_sent(tmp_path: Path) -> None:
    """A certificate that nobody vouches for proves that nothing was sent."""
    async with raw_server(read_all, tls=self_signed(tmp_path)) as server:
        report = await create(server)

    assert_not_sent(report, NotSentCause.UNREACHABLE)
    assert server.received == b""


async def test_a_header_that_cannot_be_sent_is_not_sent() -> None:
    """A workspace with a line break never reaches the wire."""
    evil = dataclasses.replace(batch(), traceparent="x\r\nevil: yes")
    async with raw_server(read_all) as server, VendorClient(config(server.url)) as client:
        report = await client.create_package(evil, deadline=in_a_minute())

    assert_not_sent(report, NotSentCause.UNREACHABLE)
    assert server.received == b""


async def test_a_cancelled_call_writes_nothing_later() -> None:
    """A call that was cancelled while it waited for a connection never writes its request."""
    async with raw_server(silence) as server, client_of(server, max_connections=1) as client:
        first = asyncio.create_task(client.create_package(batch(), deadline=in_a_minute()))
        await eventually(lambda: server.received)
        second = asyncio.create_task(client.create_package(batch(), deadline=in_a_minute()))
        await everything_sent_so_far_is_read()
        second.cancel()
        first.cancel()
        ended = await asyncio.gather(first, second, return_exceptions=True)

    assert all(isinstance(error, asyncio.CancelledError) for error in ended)
    assert server.received.count(b"POST ") == 1


def self_signed(directory: Path) -> ssl.SSLContext:
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=vendor"
    )
    files = ["-keyout", os.fspath(key), "-out", os.fspath(certificate)]
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
