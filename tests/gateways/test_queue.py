"""What counts as "Redis is away"."""

import asyncio

import pytest
import uvloop

from service.core.errors import QueueUnavailable
from service.gateways.queue import translated


async def write_to_a_broken_connection() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.abort()
        await writer.wait_closed()
        writer.transport.writelines([b"PING\r\n"])


def test_a_socket_that_broke_a_moment_ago_is_redis_away() -> None:
    """On uvloop a write to it raises a bare RuntimeError, which would fail a whole sweep."""
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        pytest.raises(QueueUnavailable, match="handler is closed"),
        translated(),
    ):
        runner.run(write_to_a_broken_connection())


def test_another_fault_is_not_redis_away() -> None:
    """A fault of ours must not look like an outage."""
    with pytest.raises(RuntimeError, match="ours"), translated():
        raise RuntimeError("ours")
