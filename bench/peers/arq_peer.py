"""arq: one job a request, 20 ms poll. ``python -m bench.peers.arq_peer intake``, or ``worker``."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvloop
from arq import Retry, create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from bench.peers.common import (
    JOBS,
    RETRY_SECONDS,
    TRIES,
    Enqueue,
    Job,
    NotReleasedError,
    Releaser,
    build_intake,
    open_releaser,
)
from bench.yardsticks.bare import serve

POLL_SECONDS = 0.02


def _servers() -> RedisSettings:
    return RedisSettings.from_dsn(os.environ["BENCH_REDIS_URL"])


async def open_queue() -> AsyncIterator[Enqueue]:
    """Lend what enqueues a job."""
    redis = await create_pool(_servers())

    async def enqueue(job: Job) -> None:
        await redis.enqueue_job("release", job, _job_id=job["id"])

    yield enqueue
    await redis.aclose()


async def release(ctx: dict[str, Any], job: Job) -> None:
    """Do a job, or have it tried again later."""
    releaser: Releaser = ctx["releaser"]
    try:
        await releaser.release(job)
    except NotReleasedError:
        raise Retry(defer=RETRY_SECONDS) from None


async def work() -> None:
    """Work until the process is ended."""
    async with open_releaser() as releaser:
        worker = Worker(
            functions=[func(release, keep_result=0, max_tries=TRIES)],
            redis_pool=await create_pool(_servers()),
            poll_delay=POLL_SECONDS,
            max_jobs=JOBS,
            keep_result=0,
            ctx={"releaser": releaser},
            handle_signals=False,
            log_results=False,
        )
        await worker.async_run()


if __name__ == "__main__":
    if sys.argv[1] == "intake":
        serve(build_intake(open_queue))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
