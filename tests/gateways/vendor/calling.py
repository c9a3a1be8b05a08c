"""Makes a create and says what came of it."""

import asyncio
import dataclasses

from service.core.outcomes import CallReport, InDoubt, NotSent, NotSentCause, Outcome
from service.gateways.vendor.client import VendorClient
from service.gateways.vendor.config import Auth
from tests.gateways.vendor.raw_server import (
    RawConnection,
    RawServer,
    raw_server,
)
from tests.gateways.vendor.samples import KEY, PROJECT, batch, config, in_a_minute


def client_of(server: RawServer, *, max_connections: int) -> VendorClient:
    return VendorClient(dataclasses.replace(config(server.url), max_connections=max_connections))


async def create(
    server: RawServer,
    *,
    auth: Auth = KEY,
    seconds: float = 5.0,
    traceparent: str | None = None,
    project_id: str = PROJECT,
) -> CallReport:
    async with VendorClient(config(server.url, auth=auth, seconds=seconds)) as client:
        return await client.create_package(
            batch(traceparent=traceparent, project_id=project_id), deadline=in_a_minute()
        )


async def everything_sent_so_far_is_read() -> None:
    """Let the loop read what was sent before: a byte sent later over another connection has come through."""

    async def greet(connection: RawConnection) -> None:
        await connection.say(b"!")

    async with raw_server(greet) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readexactly(1)
        writer.close()
        await writer.wait_closed()


def taken_apart(raw: bytes) -> tuple[str, dict[str, str], bytes]:
    head, body = raw.split(b"\r\n\r\n", 1)
    line, *fields = head.decode().split("\r\n")
    return line, {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}, body


def doubt_in(report: CallReport) -> str | None:
    return report.outcome.reason if isinstance(report.outcome, InDoubt) else None


def assert_not_sent(report: CallReport, cause: NotSentCause) -> None:
    outcome: Outcome = report.outcome

    assert isinstance(outcome, NotSent)
    assert cause is outcome.cause
    assert report.sent_at is None


def assert_lease_lost(report: CallReport) -> None:
    assert_not_sent(report, NotSentCause.LEASE_LOST)
