"""L5n: a worker that arq wakes, one job a key; after a job it looks once more, since a bell may have come too early."""

import asyncio
import os
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from bench.yardsticks.releasing import Releaser, open_releaser
from bench.yardsticks.table import claim

POLL_SECONDS = 0.02
JOBS = 100


async def empty(ctx: dict[str, Any], key: str) -> None:
    """Empty a key."""
    releaser: Releaser = ctx["releaser"]
    ctx["key"] = key
    await releaser.empty(key)


async def look_again(ctx: dict[str, Any]) -> None:
    """Ring once more where something came meanwhile."""
    releaser: Releaser = ctx["releaser"]
    key = ctx["key"]
    if await claim(releaser.pool, key) is not None:
        await ctx["redis"].enqueue_job("empty", key, _job_id=key)


async def work() -> None:
    """Work until the process is ended."""
    async with open_releaser() as releaser:
        worker = Worker(
            functions=[func(empty, keep_result=0)],
            redis_pool=await create_pool(RedisSettings.from_dsn(os.environ["BENCH_REDIS_URL"])),
            poll_delay=POLL_SECONDS,
            max_jobs=JOBS,
            keep_result=0,
            after_job_end=look_again,
            ctx={"releaser": releaser},
            handle_signals=False,
        )
        print("ready", flush=True)  # noqa: T201 - read by the parent
        await worker.async_run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
