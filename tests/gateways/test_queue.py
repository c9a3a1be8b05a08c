"""What counts as "Redis is away", and what becomes of a doorbell."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
import uvloop
from arq.constants import job_key_prefix, result_key_prefix

from service.core.errors import QueueUnavailable
from service.gateways.queue import DOORBELL_QUEUE, Doorbells, bell_id, open_redis, translated


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


async def test_a_doorbell_whose_answer_has_just_ended_is_rung_again(redis_url: str) -> None:
    """Between the try to ring and the look at what is there its last trace goes: no doorbell waits."""
    redis = open_redis(redis_url, max_connections=4, retries=0)
    key = UUID(int=1)
    job_id = bell_id(key, 0)
    await redis.set(result_key_prefix + job_id, b"{}")
    is_new = await Doorbells(redis).ring(key, delay=timedelta(0))
    waiting = await redis.zrange(DOORBELL_QUEUE, 0, -1)
    has_job = await redis.exists(job_key_prefix + job_id)
    await redis.aclose()

    assert is_new
    assert waiting == [job_id.encode()]
    assert has_job
