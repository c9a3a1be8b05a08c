"""Clients that go away before they have their answer: expected, so the emulator has nothing to complain about."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from tests.emulator.vendor_caller import CREATE, VendorCaller, application
from tests.support.emulator import EmulatorProcess
from tests.support.waiting import eventually


@pytest.mark.parametrize("reads", [0, 1])
@pytest.mark.parametrize(
    "rule",
    [{"fault": "slow_body", "seconds": 0.5}, {"fault": "huge_200"}, {"fault": "half_answer"}],
    ids=lambda rule: rule["fault"],
)
async def test_a_client_that_leaves_an_answer_leaves_no_traceback(
    own_emulator: EmulatorProcess, rule: Mapping[str, object], reads: int
) -> None:
    """A client that resets the connection, before or in the answer, is a call that ended, and no line on stderr."""
    await own_emulator.put_faults({"rules": [rule], "latency_seconds": 0.2})
    await call_and_leave(own_emulator.url, reads=reads)
    await eventually(lambda: has_ended(own_emulator), within=10.0, what="the end of the call")
    await own_emulator.clear_faults()
    reply = await VendorCaller(own_emulator.url).create("2")
    await own_emulator.stop()

    assert reply.status == 200
    assert own_emulator.stderr == ""


async def test_a_client_that_leaves_its_own_call_leaves_no_traceback(own_emulator: EmulatorProcess) -> None:
    """A body that ends in the middle is no call, and no line on stderr."""
    await call_and_leave(own_emulator.url, sends=20)
    reply = await VendorCaller(own_emulator.url).create("2")
    await own_emulator.stop()

    assert reply.status == 200
    assert own_emulator.stderr == ""


async def call_and_leave(url: str, *, sends: int | None = None, reads: int = 0) -> None:
    """Send so many bytes of a call's body, read so many of its answer, and reset the connection."""
    body = json.dumps(application("1")).encode()
    headers = {**VendorCaller(url).signed("POST", CREATE, body), "Content-Length": str(len(body))}
    lines = [f"POST {CREATE} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("\r\n".join(lines).encode() + body[:sends])
    await writer.drain()
    await reader.readexactly(reads)
    writer.transport.abort()


async def has_ended(emulator: EmulatorProcess) -> bool:
    """Tell whether the first call is over."""
    return any(call["ended"] is not None for call in await emulator.calls())
