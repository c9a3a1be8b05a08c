"""arq's worker, made to survive what others put into Redis: it drops what it cannot use, and goes on."""

import asyncio
from contextlib import suppress
from typing import Any, cast

import structlog
from arq.connections import ArqRedis
from arq.constants import abort_jobs_ss, in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.worker import Worker
from redis.exceptions import ResponseError

from service.core.telemetry import LogEvent
from service.gateways.queue import is_refusal_of_a_key

#: Redis takes longer only where it hangs.
_LONGEST_POLL_SECONDS = 1.0

log = structlog.get_logger()


class SafeWorker(Worker):
    """An arq worker that no entry and no key of a wrong type ends, and that stops at once when told to."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - arq's own
        super().__init__(**settings)
        self._between_polls = asyncio.Lock()

    async def stop_polling(self, polling: asyncio.Task[None]) -> None:
        """Cancel the loop of polls between two of them: redis-py would complain of a pipeline that is left open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_POLL_SECONDS), self._between_polls:
                polling.cancel()

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start what may be started; an id that is not text would end arq's worker at every look."""
        if job_ids:
            await self._mend_scores()
        for job_id in job_ids:
            if not self.allow_pick_jobs or self.job_counter >= self.max_jobs:
                return
            if not is_text(job_id):
                await self.pool.zrem(self.queue_name, job_id)
                self._log_dropped(repr(job_id[:100]))
            elif not self._is_running(job_id.decode()):
                await self._start_job(job_id)

    def _is_running(self, job_id: str) -> bool:
        """Tell whether this worker runs a job; Redis may have forgotten that, and arq would mix up the two."""
        job = self.tasks.get(job_id)
        return job is not None and not job.done()

    async def _start_job(self, job_id: bytes) -> None:
        try:
            await super().start_jobs([job_id])
        except (
            OverflowError
        ):  # its time was made infinite since the mending; what arq has taken is given back
            self.job_counter -= 1
            self.sem.release()
            await self.pool.zrem(self.queue_name, job_id)
            await self.pool.delete(in_progress_key_prefix + job_id.decode())
            self._log_dropped(repr(job_id[:100]))
        if (job := self.tasks.get(job_id.decode())) is not None:
            job.add_done_callback(take_note)

    async def run_job(self, job_id: str, score: int) -> None:
        """Run a job; one whose own keys are of a wrong type would end arq's worker."""
        try:
            await super().run_job(job_id, score)
        except ResponseError as error:
            if not is_refusal_of_a_key(error):
                raise
            await self._mend_job(job_id)
            self._log_dropped(f"{job_id[:100]!r}: {error}")

    async def _poll_iteration(self) -> None:
        async with self._between_polls:
            await self._poll_safely()

    async def _poll_safely(self) -> None:
        try:
            await super()._poll_iteration()
        except ResponseError as error:
            if not (is_refusal_of_a_key(error) and await self._drop_unless_queue(self.queue_name)):
                raise
            self._log_dropped(self.queue_name)

    async def _mend_scores(self) -> None:
        """Make 0 and less, which arq leaves lying at the head of the queue or falls over, a time long ago."""
        odd = await self.pool.zrangebyscore(
            self.queue_name, min="-inf", max=0, start=0, num=self.queue_read_limit
        )
        if odd:
            await self.pool.zadd(self.queue_name, dict.fromkeys(odd, 1), xx=True)

    async def _mend_job(self, job_id: str) -> None:
        """Let a job be run again by what is good of it; without a good job, arq drops the entry."""
        await self._drop_unless_queue(self.queue_name)
        await self._drop_unless_queue(abort_jobs_ss)
        await self.pool.delete(retry_key_prefix + job_id, in_progress_key_prefix + job_id)
        if await type_of(self.pool, job_key_prefix + job_id) != "string":
            await self.pool.delete(job_key_prefix + job_id)

    async def _drop_unless_queue(self, key: str) -> bool:
        """Delete a key that is no sorted set; tells whether there was one. The sweep rings for what was lost."""
        return await type_of(self.pool, key) not in {"zset", "none"} and bool(await self.pool.delete(key))

    def _log_dropped(self, entry: str) -> None:
        log.warning(LogEvent.ENTRY_DROPPED, queue=self.queue_name, entry=entry)


def take_note(job: asyncio.Task[Any]) -> None:
    """Have asyncio know that an error was seen: the poll raises the first, and that of a lost Redis ends them all."""
    if not job.cancelled():
        job.exception()


async def type_of(redis: ArqRedis, key: str) -> str:
    """Return Redis' word for the type of a key, ``none`` where there is no such key."""
    return cast("bytes", await redis.type(key)).decode()


def is_text(raw: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
