"""What becomes of a doorbell in the worker that answers it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix

from service.background import running
from service.gateways.doorbell_worker import Answer, DoorbellWorker, End, Sounds
from service.gateways.doorbells import LOOK, SOUNDS, Bell, Doorbells, Ring, bell_id
from service.gateways.queue import DOORBELL_QUEUE, deserialize_job, now_ms, open_redis, serialize_job
from tests.support.waiting import eventually

KEY = UUID(int=1)
NOW = timedelta(0)


@asynccontextmanager
async def answering(
    redis: ArqRedis,
    answer: Answer,
    *,
    sounds: Sounds | None = None,
    poll_delay: timedelta = timedelta(seconds=0.01),
) -> AsyncIterator[DoorbellWorker]:
    """Answer doorbells beside the block."""
    worker = DoorbellWorker(
        answer=answer,
        redis_pool=redis,
        handle_signals=False,
        poll_delay=poll_delay,
        sounds=sounds or Sounds(),
        job_serializer=serialize_job,
        job_deserializer=deserialize_job,
    )
    polling = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        await worker.stop_polling(polling)
        await asyncio.wait([polling])


@asynccontextmanager
async def open_client(url: str) -> AsyncIterator[ArqRedis]:
    redis = open_redis(url, max_connections=8, retries=0)
    try:
        async with asyncio.timeout(20):
            yield redis
    finally:
        await redis.aclose()


async def is_taken(redis: ArqRedis) -> bool:
    return bool(await redis.exists(in_progress_key_prefix + bell_id(KEY, 0)))


async def is_listened_to(redis: ArqRedis) -> bool:
    return bool(dict(await redis.pubsub_numsub(SOUNDS))[SOUNDS.encode()])


async def test_a_doorbell_that_sounds_now_is_heard_before_the_next_poll(redis_url: str) -> None:
    """Also after the connection on which the worker listens was cut."""
    answered: asyncio.Queue[UUID] = asyncio.Queue()
    sounds = Sounds()

    async def answer(sounding: Bell, end: End) -> None:
        await end(None)
        answered.put_nowait(sounding.batch_key)

    async with (
        open_client(redis_url) as redis,
        running(sounds.listen(redis)),
        answering(redis, answer, sounds=sounds, poll_delay=timedelta(seconds=60)),
    ):
        for key in (UUID(int=1), UUID(int=2)):
            await eventually(lambda: is_listened_to(redis), what="a listener")
            await Doorbells(redis).ring(key, delay=NOW)
            assert await answered.get() == key
            await redis.client_kill_filter(_type="pubsub")


async def test_a_doorbell_that_was_answered_can_be_rung_for_the_next_look(redis_url: str) -> None:
    """It is forgotten and rung in one, so that nothing of the answer is left on the one that waits."""

    async def answer(sounding: Bell, end: End) -> None:
        await end(Ring(batch_key=sounding.batch_key, delay=timedelta(seconds=50)))

    async with open_client(redis_url) as redis:
        async with answering(redis, answer) as worker:
            await Doorbells(redis).ring(KEY, delay=NOW)
            await eventually(lambda: worker.jobs_complete == 1)
        waiting = await redis.zrange(DOORBELL_QUEUE, 0, -1, withscores=True)
        is_answered = await redis.exists(in_progress_key_prefix + bell_id(KEY, 0))
        has_job = await redis.exists(job_key_prefix + bell_id(KEY, 0))

    ((job_id, sounds_at),) = waiting
    assert job_id.decode() == bell_id(KEY, 0)
    assert sounds_at > now_ms() + 30_000
    assert (is_answered, has_job) == (0, 1)


async def test_a_doorbell_that_sounds_before_its_answer_has_returned_is_answered(redis_url: str) -> None:
    """Redis knows of the end first, and may be asked for what is due before the answer is over."""
    answers: asyncio.Queue[None] = asyncio.Queue()
    may_return = asyncio.Event()

    async def answer(sounding: Bell, end: End) -> None:
        await end(None if may_return.is_set() else Ring(batch_key=sounding.batch_key, delay=NOW))
        answers.put_nowait(None)
        await may_return.wait()

    async with open_client(redis_url) as redis, answering(redis, answer):
        await Doorbells(redis).ring(KEY, delay=NOW)
        await answers.get()
        await eventually(lambda: is_taken(redis), what="the next doorbell being taken")
        may_return.set()
        await answers.get()

    assert answers.empty(), "it was rung twice"


async def test_a_doorbell_that_redis_forgot_and_has_again_is_answered_twice(redis_url: str) -> None:
    """The first answer may have looked too early for what it was rung for the second time, and takes it out."""
    answers: asyncio.Queue[None] = asyncio.Queue()
    may_end = asyncio.Event()

    async def answer(_sounding: Bell, end: End) -> None:
        answers.put_nowait(None)
        await may_end.wait()
        await end(None)

    async with open_client(redis_url) as redis, answering(redis, answer):
        await Doorbells(redis).ring(KEY, delay=NOW)
        await answers.get()
        await redis.flushdb()
        await Doorbells(redis).ring(KEY, delay=NOW)
        await eventually(lambda: is_taken(redis), what="the doorbell being taken again")
        may_end.set()
        await answers.get()

    assert answers.empty(), "it was rung twice"


async def test_a_doorbell_whose_answer_is_cut_off_is_answered_again(redis_url: str) -> None:
    """It is free for another worker at once, not when arq would take this one for dead."""
    answers: asyncio.Queue[None] = asyncio.Queue()

    async def answer(_sounding: Bell, _end: End) -> None:
        answers.put_nowait(None)
        await asyncio.Event().wait()

    async with open_client(redis_url) as redis, answering(redis, answer) as worker:
        await Doorbells(redis).ring(KEY, delay=NOW)
        for _ in range(2):
            await answers.get()
            worker.tasks[bell_id(KEY, 0)].cancel()


async def test_a_job_that_asks_for_a_look_under_an_id_of_its_own_rings(redis_url: str) -> None:
    """It is no doorbell, but what it asks for is done."""
    answered: asyncio.Queue[UUID] = asyncio.Queue()

    async def answer(sounding: Bell, end: End) -> None:
        await end(None)
        answered.put_nowait(sounding.batch_key)

    async with open_client(redis_url) as redis, answering(redis, answer):
        await redis.enqueue_job(LOOK, KEY.hex, _job_id="mine", _queue_name=DOORBELL_QUEUE)

        assert await answered.get() == KEY


async def test_a_worker_that_hears_doorbells_polls_seldom_and_in_time(redis_url: str) -> None:
    """Ten times a second where nobody rings, and when a doorbell is due that was rung for a moment later."""
    sounds = Sounds()
    answered: asyncio.Queue[float] = asyncio.Queue()

    async def answer(_sounding: Bell, end: End) -> None:
        answered.put_nowait(asyncio.get_running_loop().time())
        await end(None)

    async with (
        open_client(redis_url) as redis,
        running(sounds.listen(redis)),
        answering(redis, answer, sounds=sounds, poll_delay=timedelta(milliseconds=1)) as worker,
    ):
        await eventually(lambda: sounds.is_heard)
        polls = count_polls(worker)
        await asyncio.sleep(0.5)  # as long as nobody rings
        idle = polls()
        rung_at = asyncio.get_running_loop().time()
        await Doorbells(redis).ring(KEY, delay=timedelta(milliseconds=50))
        waited = await answered.get() - rung_at

    assert idle <= 6
    assert 0.04 < waited < 0.5


def count_polls(worker: DoorbellWorker) -> Callable[[], int]:
    polls = 0
    poll = worker.heart_beat

    async def counted() -> None:
        nonlocal polls
        polls += 1
        await poll()

    worker.heart_beat = counted  # type: ignore[method-assign]
    return lambda: polls
