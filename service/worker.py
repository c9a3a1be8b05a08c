"""Builds the worker process: two arq workers (doorbells, and the queue door) and the sweep, supervised.

arq ends a worker for good when Redis stays away for longer than its retries; here it is built anew.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker, func

from service import __version__
from service.background import end_tasks, running
from service.core.config import Settings
from service.core.credentials import Credentials
from service.core.errors import Unavailable
from service.core.telemetry import LogEvent
from service.deps import (
    WorkerDeps,
    check_redis,
    open_arq_redis,
    open_worker_deps,
    wait_for,
)
from service.doors.queue import RELEASE_REQUEST, reject_stranger, release_request
from service.doors.worker_health import Pulse, serve_health
from service.flow.audit import run_audits
from service.flow.batch import answer_doorbell
from service.flow.intake import Intake, open_intake
from service.flow.next_look import Answer, ring_after
from service.flow.operations import run_operations
from service.flow.prune import run_prunes
from service.flow.reconcile import run_reconciles
from service.flow.ring import ring_if_possible
from service.flow.sweep import run_sweeps
from service.flow.worker_signs import giving_signs
from service.gateways.doorbell_worker import DoorbellWorker, End, Sounds
from service.gateways.doorbells import Bell, Ring
from service.gateways.queue import deserialize_job, serialize_job
from service.gateways.queue_worker import SafeWorker

#: How often an idle worker asks Redis for what nobody has told it of.
POLL_DELAY = timedelta(milliseconds=20)
#: arq finds work only within this many of the head of its queue, those that run elsewhere included.
QUEUE_READ_LIMIT = 2_000
#: A doorbell says nothing but "look", so it may be answered any number of times.
MAX_TRIES = 1_000_000
QUEUE_DOOR_JOBS = 32
QUEUE_DOOR_RESULT = timedelta(hours=1)
#: What a doorbell's job may take besides the call itself.
AROUND_THE_CALL = timedelta(seconds=30)
#: Doorbells that hold no permit are short, so there may be more of them than calls.
LOOKS_BESIDE_CALLS = 16
#: Jobs use one for moments only, and a server with few cores does more with few connections that are warm.
_DATABASE_CONNECTIONS = 8
_REBUILD_PAUSE_SECONDS = 0.5
#: How long cut jobs may take to write that their calls are in doubt; if they cannot, their leases say so later.
_SETTLE_CUT_JOBS_SECONDS = 1.0
#: From the second signal to the end of the process, whatever hangs.
_HURRY_SECONDS = 1.7

log = structlog.get_logger()


class Drain:
    """Whether the process has been told to stop, and whether it has been told twice."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hurried = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None

    def watch_start(self, task: asyncio.Task[None]) -> None:
        """Cancel this task when told to stop before ``end_start``: it may be waiting for a server."""
        self._starting = task

    def end_start(self) -> None:
        """Say that from now on there may be work to finish."""
        self._starting = None

    def request(self, name: str) -> None:
        """Take no new work; when asked again, end what runs."""
        if self.requested.is_set():
            self.hurried.set()
        log.info(LogEvent.DRAIN_STARTED, signal=name, hurried=self.hurried.is_set())
        self.requested.set()
        if self._starting is not None:
            self._starting.cancel()


async def run_worker(settings: Settings, credentials: Credentials | None) -> None:
    """Work until SIGTERM or SIGINT, then finish what runs within the grace; a second signal hurries."""
    drain = Drain()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, drain.request, number.name)
    running_worker = asyncio.create_task(_open_and_work(settings, credentials, drain))
    drain.watch_start(running_worker)
    hurrying = asyncio.create_task(end_in_a_hurry(drain))
    try:
        await running_worker
    except asyncio.CancelledError:
        if not drain.requested.is_set():
            raise
    finally:
        hurrying.cancel()
    log.info(LogEvent.PROCESS_STOPPED, process="worker")


async def end_in_a_hurry(drain: Drain) -> None:
    """End the process soon after the second signal, whatever it still waits for: leases tell what was cut off."""
    await drain.hurried.wait()
    await asyncio.sleep(_HURRY_SECONDS)
    log.warning(
        LogEvent.PROCESS_STOPPED, process="worker", reason="told twice, and something did not end in time"
    )
    os._exit(0)


async def _open_and_work(settings: Settings, credentials: Credentials | None, drain: Drain) -> None:
    jobs = settings.vendor_concurrency + LOOKS_BESIDE_CALLS + QUEUE_DOOR_JOBS
    async with (
        open_worker_deps(settings, credentials, pool_size=_DATABASE_CONNECTIONS) as deps,
        open_intake(deps) as intake,
        open_arq_redis(settings, jobs=jobs) as arq_redis,
    ):
        await wait_for("Redis", lambda: check_redis(deps.redis))
        await wait_for("the limiter", deps.permits.prepare)
        drain.end_start()
        await _work(deps, intake, arq_redis, drain)


async def _work(deps: WorkerDeps, intake: Intake, arq_redis: ArqRedis, drain: Drain) -> None:
    pulse = Pulse(deps.settings.sweep_period)
    sounds = Sounds()
    async with (
        serve_health(deps, pulse, port=deps.settings.worker_http_port),
        giving_signs(deps, drain.requested),
        running(
            run_sweeps(deps, on_round=pulse.beat),
            run_reconciles(deps),
            run_audits(deps),
            run_operations(deps, intake),
            run_prunes(deps),
            sounds.listen(deps.redis),
        ),
    ):
        log.info(LogEvent.PROCESS_STARTED, process="worker", version=__version__, worker=deps.worker_name)
        await asyncio.gather(
            supervise(lambda: doorbell_worker(deps, arq_redis, sounds), drain, deps.settings.grace),
            supervise(lambda: queue_door_worker(deps, intake, arq_redis), drain, deps.settings.grace),
        )


def doorbell_worker(deps: WorkerDeps, redis: ArqRedis, sounds: Sounds) -> SafeWorker:
    """Build the arq worker that answers doorbells."""
    return DoorbellWorker(
        sounds=sounds,
        answer=partial(look, deps),
        max_jobs=deps.settings.vendor_concurrency + LOOKS_BESIDE_CALLS,
        job_timeout=longest_look(deps.settings),
        **_common(redis, deps.settings),
    )


def queue_door_worker(deps: WorkerDeps, intake: Intake, redis: ArqRedis) -> SafeWorker:
    """Build the arq worker that takes release requests from the queue door."""
    return SafeWorker(
        functions=[
            func(release_request, name=RELEASE_REQUEST, keep_result=QUEUE_DOOR_RESULT, max_tries=MAX_TRIES)
        ],
        on_stranger=partial(reject_stranger, deps),
        queue_name=deps.settings.queue,
        max_jobs=QUEUE_DOOR_JOBS,
        ctx={"deps": deps, "intake": intake},
        job_timeout=timedelta(seconds=30),
        **_common(redis, deps.settings),
    )


def _common(redis: ArqRedis, settings: Settings) -> dict[str, Any]:
    """Return what both workers share; a result kept by default would block its job id for an hour."""
    return {
        "redis_pool": redis,
        "handle_signals": False,
        "keep_result": 0,
        "poll_delay": POLL_DELAY,
        "queue_read_limit": QUEUE_READ_LIMIT,
        "max_tries": MAX_TRIES,
        "job_completion_wait": int(settings.grace.total_seconds()),
        "job_serializer": serialize_job,
        "job_deserializer": deserialize_job,
        "log_results": False,
    }


def longest_look(settings: Settings) -> timedelta:
    """Tell after how long a look is given up: a call is in it, and what is around that."""
    return settings.call_timeout + AROUND_THE_CALL


async def look(deps: WorkerDeps, bell: Bell, end: End) -> None:
    """Answer a doorbell; whatever goes wrong is logged, and the sweep rings again."""
    structlog.contextvars.bind_contextvars(batch_key=bell.batch_key.hex)
    answer = Answer()
    try:
        async with asyncio.timeout(longest_look(deps.settings).total_seconds()):
            answer = await answer_doorbell(deps, bell.batch_key)
    except Unavailable as error:
        log.warning(LogEvent.LOOK_FAILED, reason=str(error))
    except Exception:
        log.exception(LogEvent.LOOK_FAILED)
    await look_again(deps, bell, answer, end)


async def look_again(deps: WorkerDeps, bell: Bell, answer: Answer, end: End) -> None:
    """Have the doorbell forgotten, and ring once more where work is left.

    Whoever rang meanwhile has found another doorbell, unless this one was the last that was free: then it looks anew.
    """
    if not bell.is_last:
        await end(await next_ring(deps, bell.batch_key, answer) if answer.has_more else None)
        return
    await end(None)
    ring = await next_ring(deps, bell.batch_key, replace(answer, lane=None))
    if ring is not None:
        await ring_if_possible(deps.doorbells, ring)


async def next_ring(deps: WorkerDeps, batch_key: UUID, answer: Answer) -> Ring | None:
    """Tell when to look next; where that is not known, the sweep will ring."""
    try:
        return await ring_after(deps, batch_key, answer)
    except Unavailable as error:
        log.warning(LogEvent.BELL_LOST, reason=str(error))
    except Exception:
        log.exception(LogEvent.LOOK_FAILED)
    return None


async def supervise(build: Callable[[], SafeWorker], drain: Drain, grace: timedelta) -> None:
    """Keep an arq worker running until the process is told to stop, and build it anew whenever it ends."""
    workers: list[Worker] = []
    while not drain.requested.is_set():
        worker = build()
        workers = [*(one for one in workers if running_jobs([one])), worker]
        polling = asyncio.create_task(worker.async_run())
        await first_of(polling, drain.requested)
        worker.allow_pick_jobs = False
        if not drain.requested.is_set():
            log.warning(LogEvent.QUEUE_LOST, reason=repr(polling.exception()))
            await first_of(asyncio.create_task(asyncio.sleep(_REBUILD_PAUSE_SECONDS)), drain.requested)
            continue
        await finish_jobs(workers, drain, grace)
        await worker.stop_polling(polling)
        await end_tasks([polling])
    await finish_jobs(workers, drain, grace)


async def first_of(task: asyncio.Task[None], event: asyncio.Event) -> None:
    """Return when the task has ended or the event is set."""
    has_happened = asyncio.create_task(event.wait())
    await asyncio.wait({task, has_happened}, return_when=asyncio.FIRST_COMPLETED)
    has_happened.cancel()


def running_jobs(workers: Iterable[Worker]) -> set[asyncio.Task[Any]]:
    """Return the jobs of these workers that run at this moment."""
    return {task for worker in workers for task in worker.tasks.values() if not task.done()}


async def finish_jobs(workers: Sequence[Worker], drain: Drain, grace: timedelta) -> None:
    """Let running jobs end within the grace; then, or when hurried, cut them: their batches are left in doubt."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + grace.total_seconds()
    hurried = asyncio.create_task(drain.hurried.wait())
    while (jobs := running_jobs(workers)) and loop.time() < give_up_at and not drain.hurried.is_set():
        left = give_up_at - loop.time()
        await asyncio.wait({*jobs, hurried}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    cut = running_jobs(workers)
    for job in cut:
        job.cancel()
    if cut:
        await asyncio.wait(cut, timeout=_SETTLE_CUT_JOBS_SECONDS)
