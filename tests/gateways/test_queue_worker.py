"""arq's worker where Redis forgets that a job runs or goes away while jobs run, and what it says of strangers' jobs."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from arq.connections import ArqRedis
from arq.worker import Function, func

from service.embedded.valkey import EmbeddedValkey
from service.gateways.queue import deserialize_job, open_redis, serialize_job
from service.gateways.queue_worker import SafeWorker
from tests.support.logs import caught_log
from tests.support.waiting import eventually

QUEUE = "jobs"


def new_worker(
    redis: ArqRedis,
    *functions: Function,
    **settings: Any,  # noqa: ANN401 - arq's own
) -> SafeWorker:
    return SafeWorker(
        functions=functions,
        redis_pool=redis,
        queue_name=QUEUE,
        handle_signals=False,
        poll_delay=timedelta(seconds=0.01),
        job_serializer=serialize_job,
        job_deserializer=deserialize_job,
        **settings,
    )


@asynccontextmanager
async def worker_of(redis: ArqRedis, *functions: Function) -> AsyncIterator[asyncio.Task[None]]:
    """Run an arq worker beside the block."""
    worker = new_worker(redis, *functions)
    polling = asyncio.create_task(worker.async_run())
    try:
        yield polling
    finally:
        await worker.stop_polling(polling)
        await asyncio.wait([polling])


async def test_a_job_that_redis_forgot_is_not_run_beside_itself(redis_url: str) -> None:
    """The same job handed in again, while this worker still runs it, is run when the first has ended."""
    redis = open_redis(redis_url, max_connections=4, retries=0)
    running = 0
    most = 0
    runs: asyncio.Queue[None] = asyncio.Queue()
    may_end, next_ran = asyncio.Event(), asyncio.Event()

    async def slow(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - arq names it
        nonlocal running, most
        running += 1
        most = max(most, running)
        runs.put_nowait(None)
        await may_end.wait()
        running -= 1

    async def quick(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - arq names it
        next_ran.set()

    async with asyncio.timeout(10), worker_of(redis, func(slow, name="slow"), func(quick, name="quick")):
        await redis.enqueue_job("slow", _job_id="same", _queue_name=QUEUE)
        await runs.get()
        await redis.flushdb()
        await redis.enqueue_job("slow", _job_id="same", _queue_name=QUEUE)
        await redis.enqueue_job("quick", _job_id="later", _queue_name=QUEUE)
        await next_ran.wait()
        may_end.set()
    await redis.aclose()

    assert most == 1


async def test_a_worker_that_is_stopped_leaves_no_pipeline_open(redis_url: str) -> None:
    """Forty workers are stopped at any moment of a busy poll: redis-py has nothing to complain of."""
    redis = open_redis(redis_url, max_connections=40, retries=0)
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(str(context["message"])))

    async def quick(ctx: dict[str, Any]) -> None:
        """Take no time."""

    for moment in range(40):
        for number in range(10):
            await redis.enqueue_job("quick", _job_id=f"{moment}-{number}", _queue_name=QUEUE)
        worker = new_worker(redis, func(quick, name="quick"))
        polling = asyncio.create_task(worker.async_run())
        await asyncio.sleep(0.001 * (moment % 20))  # the moment of the stop
        await worker.stop_polling(polling)
        await asyncio.wait([polling])
    await redis.aclose()
    gc.collect()

    assert complaints == []


async def test_a_worker_is_stopped_even_where_its_cancellation_is_lost(redis_url: str) -> None:
    """redis-py keeps one to itself now and then; here the start does."""
    redis = open_redis(redis_url, max_connections=4, retries=0)
    has_begun = asyncio.Event()

    async def keep_cancellation(_ctx: dict[str, Any]) -> None:
        has_begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async def quick(ctx: dict[str, Any]) -> None:
        """Take no time."""

    worker = new_worker(redis, func(quick, name="quick"), on_startup=keep_cancellation)
    polling = asyncio.create_task(worker.async_run())
    await has_begun.wait()
    await worker.stop_polling(polling)
    await asyncio.wait([polling], timeout=5)
    await redis.aclose()

    assert polling.done()


async def test_jobs_that_end_without_redis_leave_nothing_unseen(tmp_path: Path) -> None:
    """The poll ends with the loss of Redis; that jobs end with it too is no news for asyncio to print."""
    printed: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: printed.append(context["message"])
    )

    async with asyncio.timeout(20):
        await lose_redis_beneath_jobs(tmp_path)
    gc.collect()

    assert printed == []


async def lose_redis_beneath_jobs(directory: Path) -> None:
    started: asyncio.Queue[None] = asyncio.Queue()
    may_end = asyncio.Event()

    async def slow(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - arq names it
        started.put_nowait(None)
        await may_end.wait()

    async with EmbeddedValkey(directory) as valkey:
        redis = open_redis(valkey.url, max_connections=4, retries=0)
        async with worker_of(redis, func(slow, name="slow")) as polling:
            for number in range(3):
                await redis.enqueue_job("slow", _job_id=str(number), _queue_name=QUEUE)
                await started.get()
            await valkey.stop()
            may_end.set()
            await asyncio.wait([polling])
            if left := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(left)
        await redis.aclose()


async def test_a_flood_of_strangers_entries_is_small_in_the_log(redis_url: str) -> None:
    """Three hundred entries with long ids, of every kind that arq complains about, cost the log some bytes each."""
    redis = open_redis(redis_url, max_connections=4, retries=0)

    async def fail(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - arq names it
        raise ValueError("x" * 5_000)

    async def is_empty() -> bool:
        return not await redis.zcard(QUEUE)

    with caught_log() as lines:
        async with worker_of(redis, func(fail, name="fail")):
            for number in range(100):
                await add_strange_entries(redis, f"{number}{'x' * 5_000}")
            await eventually(is_empty, within=30.0, what="an empty queue")
    await redis.aclose()

    assert lines.getvalue().count('"event":"library.said"') == 300
    assert len(lines.getvalue()) < 300 * 600


async def add_strange_entries(redis: ArqRedis, job_id: str) -> None:
    """Add an entry without a job, one that is no job, and one of a job that fails."""
    await redis.zadd(QUEUE, {f"expired-{job_id}": 1})
    await redis.set(f"arq:job:rubbish-{job_id}", "rubbish")
    await redis.zadd(QUEUE, {f"rubbish-{job_id}": 1})
    await redis.enqueue_job("fail", _job_id=job_id, _queue_name=QUEUE)
