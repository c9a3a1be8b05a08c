"""What counts as "Redis is away", and what becomes of a doorbell."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
import uvloop
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, result_key_prefix

from service.core.errors import QueueUnavailable
from service.gateways.doorbells import BELLS_PER_KEY, LOOK, Bell, Doorbells, Ring, bell_id
from service.gateways.queue import DOORBELL_QUEUE, deserialize_job, open_redis, translated


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


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    redis = open_redis(redis_url, max_connections=4, retries=0)
    yield redis
    await redis.aclose()


async def test_a_doorbell_whose_answer_has_just_ended_is_rung_again(redis: ArqRedis) -> None:
    """Between the try to ring and the look at what is there its last trace goes: no doorbell waits."""
    key = UUID(int=1)
    job_id = bell_id(key, 0)
    await redis.set(result_key_prefix + job_id, b"{}")
    is_new = await Doorbells(redis).ring(key, delay=timedelta(0))
    waiting = await redis.zrange(DOORBELL_QUEUE, 0, -1)

    assert is_new
    assert waiting == [job_id.encode()]
    assert await redis.exists(job_key_prefix + job_id)


async def test_a_doorbell_is_the_job_that_arq_would_enqueue(redis: ArqRedis) -> None:
    """It has the same members, moment and end."""
    key, delay = UUID(int=1), timedelta(seconds=50)
    await redis.enqueue_job(LOOK, key.hex, _job_id="arq's", _defer_by=delay)
    await Doorbells(redis).ring(key, delay=delay)
    names = ["arq's", bell_id(key, 0)]
    theirs, ours = [deserialize_job(await redis.get(job_key_prefix + name)) for name in names]
    ends = [await redis.pttl(job_key_prefix + name) for name in names]
    moments = [await redis.zscore(DOORBELL_QUEUE, name) for name in names]

    assert {**theirs, "et": 0} == {**ours, "et": 0}
    assert abs(theirs["et"] - ours["et"]) < 1_000
    assert abs(ends[0] - ends[1]) < 1_000
    assert abs(moments[0] - moments[1]) < 1_000


async def test_of_many_keys_each_is_rung_for_by_itself(redis: ArqRedis) -> None:
    """In one trip one key gets its first doorbell, one has it waiting, and one gets the next to that being answered."""
    doorbells, (fresh, waits, answered) = Doorbells(redis), (UUID(int=number) for number in (1, 2, 3))
    for key in (waits, answered):
        await doorbells.ring(key, delay=timedelta(seconds=50))
    await redis.psetex(in_progress_key_prefix + bell_id(answered, 0), 60_000, b"1")
    rung = await doorbells.ring_all(
        [Ring(batch_key=key, delay=timedelta(seconds=50)) for key in (fresh, waits, answered)]
    )
    waiting = {job_id.decode() for job_id in await redis.zrange(DOORBELL_QUEUE, 0, -1)}

    assert [each.is_new for each in rung] == [True, False, True]
    assert waiting == {bell_id(fresh, 0), bell_id(waits, 0), bell_id(answered, 0), bell_id(answered, 1)}


async def test_a_key_has_eight_doorbells_at_most(redis: ArqRedis) -> None:
    """While all are being answered none is rung: each of them looks again at its end."""
    key, doorbells = UUID(int=1), Doorbells(redis)
    for number in range(BELLS_PER_KEY):
        assert await doorbells.ring(key, delay=timedelta(0))
        await redis.psetex(in_progress_key_prefix + bell_id(key, number), 60_000, b"1")

    assert not await doorbells.ring(key, delay=timedelta(0))
    assert await redis.zcard(DOORBELL_QUEUE) == BELLS_PER_KEY


async def test_an_answering_that_never_ends_is_none(redis: ArqRedis) -> None:
    """What arq has not written keeps no doorbell silent, and a doorbell that is not in the queue is put back."""
    key, doorbells = UUID(int=1), Doorbells(redis)
    await doorbells.ring(key, delay=timedelta(0))
    await redis.set(in_progress_key_prefix + bell_id(key, 0), b"1")
    await redis.delete(DOORBELL_QUEUE)

    assert not await doorbells.ring(key, delay=timedelta(0))
    assert await redis.zrange(DOORBELL_QUEUE, 0, -1) == [bell_id(key, 0).encode()]


@pytest.mark.parametrize(
    ("latest", "newcomer", "sounds_in"), [(90, 60, 60), (50, 60, 50), (None, 60, 30), (90, 20, 30)]
)
async def test_a_doorbell_is_put_off_by_newcomers_but_not_for_longer_than_it_says(
    redis: ArqRedis, latest: int | None, newcomer: int, sounds_in: int
) -> None:
    """One that says nothing of that is not put off, and none is brought forward by that."""
    key, doorbells = UUID(int=1), Doorbells(redis)
    await doorbells.ring_all([window_of(key, 30, latest=latest)])
    (rung,) = await doorbells.ring_all([window_of(key, newcomer, latest=90)])

    assert not rung.is_new
    assert sounds_in - 5 < rung.waits.total_seconds() <= sounds_in


async def test_a_doorbell_that_is_due_is_not_put_off(redis: ArqRedis) -> None:
    """What it was brought forward for is due, whatever else comes."""
    key, doorbells = UUID(int=1), Doorbells(redis)
    await doorbells.ring_all([window_of(key, 30, latest=90)])
    await doorbells.ring_at_once(key)
    (rung,) = await doorbells.ring_all([window_of(key, 60, latest=90)])

    assert rung.waits <= timedelta(0)


async def test_an_open_window_has_one_doorbell(redis: ArqRedis) -> None:
    """Of two looks at once the second one that ends finds the doorbell that the first one rang."""
    key, doorbells = UUID(int=1), Doorbells(redis)
    await doorbells.ring(key, delay=timedelta(0))
    await redis.psetex(in_progress_key_prefix + bell_id(key, 0), 60_000, b"1")
    await doorbells.ring_all([window_of(key, 30, latest=90)])
    bell = Bell.of(bell_id(key, 0))
    assert bell is not None
    await doorbells.end(bell, window_of(key, 40, latest=90))

    assert await redis.zrange(DOORBELL_QUEUE, 0, -1) == [bell_id(key, 1).encode()]


def window_of(key: UUID, seconds: int, *, latest: int | None) -> Ring:
    """Ring for the end of a window."""
    until = None if latest is None else timedelta(seconds=latest)
    return Ring(batch_key=key, delay=timedelta(seconds=seconds), latest=until)
