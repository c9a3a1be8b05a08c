"""taskiq on its Redis list: one job a request. ``python -m bench.peers.taskiq_peer intake``, or ``worker``."""

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvloop

# Installed for the peers alone, and so unknown to the checks.
from taskiq import SmartRetryMiddleware  # type: ignore[import-not-found]
from taskiq.api import run_receiver_task  # type: ignore[import-not-found]
from taskiq_redis import ListQueueBroker  # type: ignore[import-not-found]

from bench.peers.common import (
    JOBS,
    RETRY_SECONDS,
    TRIES,
    Enqueue,
    Job,
    Releaser,
    build_intake,
    open_releaser,
)
from bench.yardsticks.bare import serve


def build_broker() -> Any:  # noqa: ANN401 - the library's types are unknown to the checks
    """Build the broker, without a task."""
    retries = SmartRetryMiddleware(
        default_retry_count=TRIES, default_retry_label=True, default_delay=RETRY_SECONDS
    )
    return ListQueueBroker(os.environ["BENCH_REDIS_URL"]).with_middlewares(retries)


def register(broker: Any, releaser: Releaser | None) -> Any:  # noqa: ANN401 - the same
    """Register the task; who only enqueues has no releaser."""

    async def release(job: Job) -> None:
        if releaser is not None:
            await releaser.release(job)

    return broker.register_task(release, task_name="release")


async def open_queue() -> AsyncIterator[Enqueue]:
    """Lend what enqueues a job."""
    broker = build_broker()
    task = register(broker, None)
    await broker.startup()
    yield task.kiq
    await broker.shutdown()


async def work() -> None:
    """Work until the process is ended."""
    async with open_releaser() as releaser:
        broker = build_broker()
        broker.is_worker_process = True
        register(broker, releaser)
        await run_receiver_task(broker, max_async_tasks=JOBS, run_startup=True)


if __name__ == "__main__":
    if sys.argv[1] == "intake":
        serve(build_intake(open_queue))
    uvloop.run(work())
