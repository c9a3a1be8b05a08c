"""saq on Redis: one job a request. ``python -m bench.peers.saq_peer intake``, or ``worker``."""

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvloop

# Installed for the peers alone, and so unknown to the checks.
from saq import Worker  # type: ignore[import-not-found]
from saq.queue.redis import RedisQueue  # type: ignore[import-not-found]

from bench.peers.common import (
    JOBS,
    RETRY_SECONDS,
    TRIES,
    Enqueue,
    Job,
    build_intake,
    open_releaser,
)
from bench.yardsticks.bare import serve


async def open_queue() -> AsyncIterator[Enqueue]:
    """Lend what enqueues a job."""
    queue = RedisQueue.from_url(os.environ["BENCH_REDIS_URL"])
    await queue.connect()

    async def enqueue(job: Job) -> None:
        await queue.enqueue("release", job=job, retries=TRIES, retry_delay=RETRY_SECONDS)

    yield enqueue
    await queue.disconnect()


async def work() -> None:
    """Work until the process is ended."""
    async with open_releaser() as releaser:

        async def release(_context: dict[str, Any], *, job: Job) -> None:
            await releaser.release(job)

        queue = RedisQueue.from_url(os.environ["BENCH_REDIS_URL"])
        await queue.connect()
        await Worker(queue, [("release", release)], concurrency=JOBS).start()


if __name__ == "__main__":
    if sys.argv[1] == "intake":
        serve(build_intake(open_queue))
    uvloop.run(work())
