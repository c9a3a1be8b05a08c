"""arq's worker, made to survive what others put into Redis: it hands on what it cannot use, drops it, and goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any, LiteralString, cast

import structlog
from arq.connections import ArqRedis
from arq.constants import abort_jobs_ss, in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.worker import Worker
from redis.exceptions import ResponseError

from service.core.errors import Unavailable
from service.core.rejects import EntryFault, StrangeEntry
from service.core.telemetry import LogEvent
from service.core.wording import shown
from service.gateways.queue import deserialize_job, is_refusal_of_a_key, now_ms

#: Redis takes longer only where it hangs.
_LONGEST_POLL_SECONDS = 1.0
_PUT_OFF_MS = 1_000
_FAR_MS = 1e9
#: Takes the entries that are due and that nobody runs, up to a number of them: what arq's poll and ``start_jobs`` do
#: with one trip to Redis and four more for each. An entry without a time of its own is due: arq would leave it lying at
#: the head of the queue. Answers with pairs of an id and its time.
_TAKE: LiteralString = """
local room, most, now, lasts, in_progress = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
local taken = {}
for at = 1, #due, 2 do
    if #taken >= 2 * room then break end
    local id, score = due[at], tonumber(due[at + 1])
    if redis.call('SET', in_progress .. id, '1', 'PX', lasts, 'NX') then
        if score <= 0 then
            score = 1
            redis.call('ZADD', KEYS[1], 'XX', score, id)
        end
        taken[#taken + 1] = id
        taken[#taken + 1] = string.format('%.0f', score)
    end
end
local next = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
return {next and math.ceil(math.min(next - now, 1e9)) or false, taken}
"""

#: Is told of each entry that is not run, before it is dropped; raises ``Unavailable`` where it has to stay.
OnStranger = Callable[[StrangeEntry], Awaitable[None]]

log = structlog.get_logger()


class SafeWorker(Worker):
    """An arq worker that no entry and no key of a wrong type ends, and that stops at once when told to."""

    def __init__(
        self,
        *,
        poll_delay: timedelta,
        bell: asyncio.Event | None = None,
        on_stranger: OnStranger | None = None,
        **settings: Any,  # noqa: ANN401 - arq's own
    ) -> None:
        super().__init__(poll_delay=0, **settings)
        self._poll_delay = poll_delay
        #: When the next entry will be due, seen from the last poll; None where none is known.
        self._due_in: timedelta | None = None
        #: Is set when something may have come; the poll cannot wait for that.
        self._bell = bell or asyncio.Event()
        self._on_stranger = on_stranger
        self._take = self.pool.register_script(_TAKE)
        self._between_polls = asyncio.Lock()
        self._is_stopped = False
        #: By the event loop's clock: strangers whose ids cannot be read are left lying until then.
        self._no_strangers_until = 0.0

    async def stop_polling(self, polling: asyncio.Task[None]) -> None:
        """Cancel the loop of polls between two of them: redis-py would complain of a pipeline that is left open.

        Where it keeps the cancellation to itself, as it may while the worker starts, the next poll ends the loop.
        """
        self._is_stopped = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_POLL_SECONDS), self._between_polls:
                polling.cancel()

    async def _start_what_is_due(self) -> None:
        """Start what may be started; an id that is not text would end arq's worker at every look."""
        room = self.max_jobs - self.job_counter
        if not self.allow_pick_jobs or room <= 0 or not await self._is_any_due():
            return
        lasts = int(self.in_progress_timeout_s * 1000)
        arguments = (room, self.queue_read_limit, now_ms(), lasts, in_progress_key_prefix)
        due_in, taken = await self._take(keys=[self.queue_name], args=arguments)
        self._due_in = None if due_in is None else timedelta(milliseconds=due_in)
        for job_id, due in zip(taken[::2], taken[1::2], strict=True):
            if not is_text(job_id):
                await self._drop_unreadable(job_id)
            else:
                await self._run(job_id.decode(), int(due))

    async def _is_any_due(self) -> bool:
        """Look at the head of the queue, which costs Redis less than the script; those that run are there, too."""
        if self.job_counter:
            return True
        head = await self.pool.zrange(self.queue_name, 0, 0, withscores=True)
        self._due_in = _from_now(head[0][1]) if head else None
        return self._due_in is not None and self._due_in <= timedelta(0)

    async def _run(self, job_id: str, due: int) -> None:
        """Run a job that was taken, and keep count of it as arq does."""
        await self.sem.acquire()
        self.job_counter += 1
        run = self._run_after(self.tasks.get(job_id), job_id, due)
        self.tasks[job_id] = job = asyncio.create_task(run)
        job.add_done_callback(lambda _: self._release_sem_dec_counter_on_complete())
        job.add_done_callback(take_note)

    async def _run_after(self, running: asyncio.Task[Any] | None, job_id: str, due: int) -> None:
        """Run a job when the one with its id has ended, should this worker run that still.

        Redis has forgotten that it runs, or knows that it has ended a moment before this worker does: dropped here, the
        job would count as running until arq takes its worker for dead.
        """
        if running is not None and not running.done():
            await running
            if not await self._is_left(job_id):
                return
        await self.run_job(job_id, due)

    async def _is_left(self, job_id: str) -> bool:
        """Tell whether there is still something to do, now that another run of the job has ended."""
        return await self.pool.zscore(self.queue_name, job_id) is not None

    async def run_job(self, job_id: str, score: int) -> None:
        """Run a job; one whose own keys are of a wrong type would end arq's worker."""
        try:
            await self._perform(job_id, score)
        except ResponseError as error:
            if not is_refusal_of_a_key(error):
                raise
            detail = f"Expected a job as text; {error}."
            if await self._has_job(job_id) or await self._hand_on(
                job_id.encode(), EntryFault.NOT_A_JOB, detail, None
            ):
                await self._mend_job(job_id)
                self._log_dropped(f"{job_id[:100]!r}: {error}")
            else:
                await self._put_off(job_id.encode())

    async def _perform(self, job_id: str, score: int) -> None:
        await super().run_job(job_id, score)

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        """Drop an entry that arq cannot run; one that could not be handed on stays for a second look."""
        raw = await self.pool.get(job_key_prefix + job_id)
        fault, detail = complaint_about(raw, self.functions)
        if await self._hand_on(job_id.encode(), fault, detail, raw):
            await super().finish_failed_job(job_id, result_data)
        else:
            await self._put_off(job_id.encode())

    async def _drop_unreadable(self, job_id: bytes) -> None:
        """Drop an entry whose id is no text: handed on between polls, so that where that fails all wait a while."""
        clock = asyncio.get_running_loop().time
        if clock() < self._no_strangers_until:
            await self._put_off(job_id)
            return
        detail = "Expected an id in UTF-8."
        if await self._hand_on(job_id, EntryFault.BAD_ID, detail, await self._read_raw(job_id)):
            await self.pool.zrem(self.queue_name, job_id)
            await self.pool.delete(in_progress_key_prefix.encode() + job_id)
            self._log_dropped(repr(job_id[:100]))
        else:
            self._no_strangers_until = clock() + _PUT_OFF_MS / 1000
            await self._put_off(job_id)

    async def _read_raw(self, job_id: bytes) -> bytes | None:
        try:
            return cast("bytes | None", await self.pool.get(job_key_prefix.encode() + job_id))
        except ResponseError:
            return None

    async def _hand_on(self, job_id: bytes, fault: EntryFault, detail: str, raw: bytes | None) -> bool:
        """Tell whoever wants to know of an entry that is not run; False where that failed."""
        if self._on_stranger is None:
            return True
        try:
            await self._on_stranger(StrangeEntry(job_id=job_id, fault=fault, detail=detail, payload=raw))
        except Unavailable as error:
            log.warning(LogEvent.ACCEPT_RETRIED, reason=str(error))
            return False
        return True

    async def _put_off(self, job_id: bytes) -> None:
        """Give an entry that was taken back to the queue, for later."""
        async with self.pool.pipeline(transaction=True) as pipe:
            pipe.zadd(self.queue_name, {job_id: now_ms() + _PUT_OFF_MS}, xx=True)
            pipe.delete(in_progress_key_prefix.encode() + job_id)
            await pipe.execute()

    async def _poll_iteration(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause().total_seconds()):
                await self._bell.wait()
        self._bell.clear()
        async with self._between_polls:
            if self._is_stopped:
                raise asyncio.CancelledError
            await self._poll_safely()

    def _pause(self) -> timedelta:
        """Tell after how long to poll again, where nothing is heard."""
        return self._poll_delay

    async def _poll_safely(self) -> None:
        try:
            await self._start_what_is_due()
            self._forget_what_has_ended()
            await self.heart_beat()
        except ResponseError as error:
            if not (is_refusal_of_a_key(error) and await self._drop_unless_queue(self.queue_name)):
                raise
            self._log_dropped(self.queue_name)

    def _forget_what_has_ended(self) -> None:
        """Forget jobs that have ended; the error of one that lost Redis ends the worker, as with arq's own poll."""
        for job_id, job in list(self.tasks.items()):
            if job.done():
                del self.tasks[job_id]
                job.result()

    async def _mend_job(self, job_id: str) -> None:
        """Let a job be run again by what is good of it; without a good job, arq drops the entry."""
        await self._drop_unless_queue(self.queue_name)
        await self._drop_unless_queue(abort_jobs_ss)
        await self.pool.delete(retry_key_prefix + job_id, in_progress_key_prefix + job_id)
        if not await self._has_job(job_id):
            await self.pool.delete(job_key_prefix + job_id)

    async def _has_job(self, job_id: str) -> bool:
        return await type_of(self.pool, job_key_prefix + job_id) in {"string", "none"}

    async def _drop_unless_queue(self, key: str) -> bool:
        """Delete a key that is no sorted set; tells whether there was one. The sweep rings for what was lost."""
        return await type_of(self.pool, key) not in {"zset", "none"} and bool(await self.pool.delete(key))

    def _log_dropped(self, entry: str) -> None:
        log.warning(LogEvent.ENTRY_DROPPED, queue=self.queue_name, entry=entry)


def _from_now(moment_ms: float) -> timedelta:
    """Return how long it is until a moment of the queue; what is far away is some days away."""
    return timedelta(milliseconds=max(-_FAR_MS, min(moment_ms - now_ms(), _FAR_MS)))


def complaint_about(raw: bytes | None, functions: Iterable[str]) -> tuple[EntryFault, str]:
    """Say why arq does not run what lies under the id of a job."""
    if raw is None:
        return (
            EntryFault.JOB_EXPIRED,
            "Expected a job under this id; its expiry has passed, or it was never written.",
        )
    try:
        job = deserialize_job(raw)
    except ValueError:
        return EntryFault.NOT_A_JOB, "Expected a job as arq writes it with a serializer for JSON."
    if job["f"] not in functions:
        expected = " or ".join(functions)
        return EntryFault.UNKNOWN_FUNCTION, f"Expected the function {expected}; given {shown(job['f'])}."
    return EntryFault.TRIES_USED_UP, f"Expected fewer tries; given {shown(job['t'])}."


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
