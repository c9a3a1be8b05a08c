"""Redis as arq's queue: rings doorbells. A lost doorbell loses time, never a request: Postgres has the work."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any, LiteralString, TypeAlias
from uuid import UUID

import orjson
from arq.connections import ArqRedis
from arq.constants import expires_extra_ms, in_progress_key_prefix, job_key_prefix, result_key_prefix
from arq.jobs import serialize_job as arq_job
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError, ResponseError

from service.core.errors import QueueUnavailable

#: The arq queue of doorbells, and the one function that answers them.
DOORBELL_QUEUE = "release:doorbells"
LOOK = "look"
#: Most doorbells of one key that are answered at once, so also the most calls at once for one key.
BELLS_PER_KEY = 8
#: The number of one more doorbell of a key, which keeps nobody from ringing the others.
_LATER_BELL = BELLS_PER_KEY
#: The end of the year 9999, the last that Python's dates know.
_LAST_MOMENT_MS = 253_402_300_799_000
#: A doorbell that says that it is being answered for longer than that was not written by arq.
_LONGEST_ANSWER_MS = 86_400_000
#: Rings for many keys in one trip, each at one moment: looked at step by step, an answer that ends in between would
#: look like a doorbell that waits, and nobody would look any more. It writes what `enqueue_job` of arq writes.
#:
#: Of a key the first doorbell that is not being answered is rung; one that waits is put back into the queue, should
#: only that be lost. A result, which a doorbell has not, or an answering without an end was not written by arq, and
#: would keep the doorbell silent for ever.
_RING: LiteralString = """
local queue = KEYS[1]
local job_key, answering_key, result_key = ARGV[1], ARGV[2], ARGV[3]
local longest_answer = tonumber(ARGV[4])
local channel = ARGV[5]

local function is_answered(id)
    local left = redis.call('PTTL', answering_key .. id)
    return left >= 0 and left <= longest_answer
end

local function ring(id, sounds_at, lasts, job)
    if redis.call('EXISTS', job_key .. id, result_key .. id) > 0 then
        redis.call('DEL', result_key .. id)
        if is_answered(id) then return 'answered' end
        redis.call('DEL', answering_key .. id)
        if redis.call('EXISTS', job_key .. id) > 0 then
            redis.call('ZADD', queue, 'NX', sounds_at, id)
            return 'waits'
        end
    end
    redis.call('PSETEX', job_key .. id, lasts, job)
    redis.call('ZADD', queue, sounds_at, id)
    return 'rung'
end

local function ring_first(key, first, last, sounds_at, lasts, job)
    for number = first, last do
        local bell = ring(key .. ':' .. number, sounds_at, lasts, job)
        if bell ~= 'answered' then return bell == 'rung' end
    end
    return false
end

local function bring_forward(key, first, last, sounds_at)
    for number = first, last do
        redis.call('ZADD', queue, 'XX', 'LT', sounds_at, key .. ':' .. number)
    end
end

local news = {}
for at = 6, #ARGV, 7 do
    local key, first, last, sounds_at, lasts, job, is_forward = unpack(ARGV, at, at + 6)
    local is_new = ring_first(key, first, last, sounds_at, lasts, job)
    if not is_new and is_forward == '1' then bring_forward(key, first, last, sounds_at) end
    news[#news + 1] = is_new and 1 or 0
end
if channel ~= '' then redis.pcall('PUBLISH', channel, '') end
return news
"""
#: Where those who listen hear at once of doorbells that sound now; others find them with their next poll.
SOUNDS = "release:doorbells:sounds"
#: Set in a Redis that has not lost its memory since somebody looked.
_REMEMBERS = "release:doorbells:remembers"
_ANSWER_TIMEOUT_SECONDS = 5.0
_RING_TIMEOUT_SECONDS = 2.0
_NOW = timedelta(0)
#: What arq puts before the id of a job.
_NAMES = (job_key_prefix, in_progress_key_prefix, result_key_prefix)

_Words: TypeAlias = tuple[str | int | bytes, ...]


def serialize_job(job: dict[str, Any]) -> bytes:
    """Write a job as JSON; what JSON cannot say, such as an exception as a result, becomes its text."""
    return orjson.dumps(job, default=repr)


def deserialize_job(raw: bytes) -> dict[str, Any]:
    """Read a job from JSON; nothing from Redis is ever unpickled.

    Raises:
        ValueError: not a job; arq then drops it. What arq takes on trust would end its worker.
    """
    job = orjson.loads(raw)
    json.loads(raw, object_pairs_hook=_each_once)
    if not (isinstance(job, dict) and all(name in job and fits(job[name]) for name, fits in _JOB.items())):
        raise ValueError("expected the JSON of a job")
    return job


def _each_once(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("expected each member once")


#: What arq writes of a job: earlier tries, function, arguments, named arguments, and when it was enqueued.
_JOB: Mapping[str, Callable[[Any], bool]] = {
    "t": lambda tries: tries is None or type(tries) is int,
    "f": lambda function: isinstance(function, str),
    "a": lambda arguments: isinstance(arguments, list),
    "k": lambda named: isinstance(named, dict),
    "et": lambda enqueued: type(enqueued) is int and 0 <= enqueued <= _LAST_MOMENT_MS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What lies under the id of a job: its beginning, and how much it is; None where nothing does."""

    beginning: bytes | None
    size: int | None


async def read_payload(redis: ArqRedis, job_id: str, *, most: int) -> Payload:
    """Read the beginning of a job as it was written.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    with translated():
        async with redis.pipeline(transaction=True) as pipe:
            pipe.getrange(job_key_prefix + job_id, 0, most - 1)
            pipe.strlen(job_key_prefix + job_id)
            beginning, size = await pipe.execute()
    return Payload(beginning=beginning, size=size) if size else Payload(beginning=None, size=None)


class translated(AbstractContextManager[None]):  # noqa: N801 - reads as a keyword where it is used
    """Turns the words of redis-py for "Redis is away" into ours."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate the error, if it is one of those."""
        if isinstance(error, RedisError | OSError | TimeoutError) or _is_closed_socket(error):
            reason = str(error) or type(error).__name__
            raise QueueUnavailable(f"Redis does not answer: {reason}") from error


def _is_closed_socket(error: BaseException | None) -> bool:
    """Tell uvloop's word for a write to a socket that broke a moment ago; redis-py lets it through."""
    return isinstance(error, RuntimeError) and str(error).endswith("the handler is closed")


def is_refusal_of_a_key(error: ResponseError) -> bool:
    """Tell whether Redis minds what a key holds; what it minds for another reason has an error of its own."""
    return type(error) is ResponseError


def open_redis(url: str, *, max_connections: int, retries: int) -> ArqRedis:
    """Return a client that connects on first use; a hung Redis makes it fail, not wait for ever."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=_ANSWER_TIMEOUT_SECONDS,
        socket_timeout=_ANSWER_TIMEOUT_SECONDS,
        socket_connect_timeout=_ANSWER_TIMEOUT_SECONDS,
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), retries),
        retry_on_error=[ConnectionError, TimeoutError, OSError],
        retry_on_timeout=True,
        health_check_interval=30,
    )
    client = ArqRedis(
        pool,
        job_serializer=serialize_job,
        job_deserializer=deserialize_job,
        default_queue_name=DOORBELL_QUEUE,
    )
    client.auto_close_connection_pool = True
    return client


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """The wish that a worker looks at a key after a delay."""

    batch_key: UUID
    delay: timedelta
    #: Whether a doorbell that waits already is brought forward to that moment.
    brings_forward: bool = False


class Doorbells:
    """Rings for batch keys: one waiting doorbell a key, however often it is rung.

    A doorbell that is being answered holds its arq job id until the vendor's call has ended, or, when its worker was
    killed, until arq believes so. So a key has several ids; the first that is not being answered is rung.
    """

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._ring = redis.register_script(_RING)

    async def ring(self, batch_key: UUID, *, delay: timedelta) -> bool:
        """Have a worker look at the key after the delay; False where a doorbell of the key already waits.

        Raises:
            QueueUnavailable: Redis does not answer; the sweep will ring.
        """
        (is_new,) = await self.ring_all([Ring(batch_key=batch_key, delay=delay)])
        return is_new

    async def ring_at_once(self, batch_key: UUID) -> bool:
        """Have a worker look at the key now, also where its doorbell was to wait; False where that was all.

        Raises:
            QueueUnavailable: Redis does not answer; the sweep will ring.
        """
        (is_new,) = await self.ring_all([Ring(batch_key=batch_key, delay=_NOW, brings_forward=True)])
        return is_new

    async def ring_all(self, rings: Sequence[Ring]) -> list[bool]:
        """Ring for several keys in one trip to Redis; tell of each whether its doorbell is new.

        Raises:
            QueueUnavailable: Redis does not answer; the sweep will ring.
        """
        channel = SOUNDS if any(ring.delay <= _NOW for ring in rings) else ""
        return await self._run([_words_of(ring, 0, BELLS_PER_KEY - 1) for ring in rings], channel=channel)

    async def ring_later(self, batch_key: UUID, *, delay: timedelta) -> None:
        """Have a worker look at the key after the delay, or earlier where that has been asked for.

        Whoever rings meanwhile is heard in his own time: of the doorbells of ``ring``, one that waits stands for all.

        Raises:
            QueueUnavailable: Redis does not answer; the sweep will ring.
        """
        ring = Ring(batch_key=batch_key, delay=delay, brings_forward=True)
        await self._run([_words_of(ring, _LATER_BELL, _LATER_BELL)])

    async def _run(self, rings: Iterable[_Words], *, channel: str = "") -> list[bool]:
        arguments = (*_NAMES, _LONGEST_ANSWER_MS, channel, *chain.from_iterable(rings))
        with translated():
            async with asyncio.timeout(_RING_TIMEOUT_SECONDS):
                found = await self._ring(keys=[DOORBELL_QUEUE], args=arguments)
        return [bool(is_new) for is_new in found]

    async def has_lost_memory(self) -> bool:
        """Tell, once, that Redis has forgotten everything since somebody asked last.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        with translated():
            return bool(await self._redis.set(_REMEMBERS, "1", nx=True))


def _words_of(ring: Ring, first: int, last: int) -> _Words:
    """Return what the script is told of a ring: the job, its moment, and which doorbells of the key it may be."""
    now = now_ms()
    defer_ms = max(ring.delay, _NOW) // timedelta(milliseconds=1)
    job = arq_job(LOOK, (ring.batch_key.hex,), {}, None, now, serializer=serialize_job)
    lasts = defer_ms + expires_extra_ms
    return _stem(ring.batch_key), first, last, now + defer_ms, lasts, job, int(ring.brings_forward)


def bell_id(batch_key: UUID, number: int) -> str:
    """Return arq's id for a doorbell of a key; the same key and number, the same id."""
    return f"{_stem(batch_key)}:{number}"


def _stem(batch_key: UUID) -> str:
    return f"{LOOK}:{batch_key.hex}"


def now_ms() -> int:
    """Return the time as arq scores its queue: milliseconds since 1970."""
    return time.time_ns() // 1_000_000
