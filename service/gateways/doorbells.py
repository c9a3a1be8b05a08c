"""Rings doorbells on Redis, as jobs of arq. A lost doorbell loses time, never a request: Postgres has the work."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import LiteralString, TypeAlias
from uuid import UUID

from arq.connections import ArqRedis
from arq.constants import (
    expires_extra_ms,
    in_progress_key_prefix,
    job_key_prefix,
    result_key_prefix,
    retry_key_prefix,
)
from arq.jobs import serialize_job as arq_job

from service.gateways.queue import DOORBELL_QUEUE, now_ms, serialize_job, translated

#: The function of arq's jobs that are doorbells.
LOOK = "look"
#: Most doorbells of one key that are answered at once, so also the most calls at once for one key.
BELLS_PER_KEY = 8
#: The number of one more doorbell of a key, which keeps nobody from ringing the others.
_LATER_BELL = BELLS_PER_KEY
_ID_OF_A_BELL = re.compile(f"{LOOK}:([0-9a-f]{{32}}):([0-{_LATER_BELL}])")
#: A doorbell that says that it is being answered for longer than that was not written by arq.
_LONGEST_ANSWER_MS = 86_400_000
#: Forgets the doorbell that was answered, if there is one, and rings for many keys, in one trip, each at one moment:
#: looked at step by step, an answer that ends in between would look like a doorbell that waits, and nobody would look
#: any more. It writes what `enqueue_job` of arq writes, and forgets what `finish_job` does.
#:
#: Of a key the first doorbell that is not being answered is rung; one that waits is put back into the queue, should
#: only that be lost. For an open window it is the first that waits, so that there are not two for it, and that is put
#: off where both the ring and its job say until when, unless it is due. A result, which a doorbell has not, or an
#: answering without an end was not written by arq, and would keep the doorbell silent for ever.
_RING: LiteralString = """
local queue = KEYS[1]
local job_key, answering_key, result_key, retry_key = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local longest_answer = tonumber(ARGV[5])
local channel, ended, now = ARGV[6], ARGV[7], tonumber(ARGV[8])
local soon = now + tonumber(ARGV[9])

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
        local id = key .. ':' .. number
        local bell = ring(id, sounds_at, lasts, job)
        if bell ~= 'answered' then return id, bell == 'rung' end
    end
end

local function first_waiting(key, first, last)
    for number = first, last do
        local id = key .. ':' .. number
        if redis.call('EXISTS', job_key .. id) > 0 and not is_answered(id) then return number end
    end
    return first
end

local function bring_forward(key, first, last, sounds_at)
    for number = first, last do
        redis.call('ZADD', queue, 'XX', 'LT', sounds_at, key .. ':' .. number)
    end
end

local function put_off(id, sounds_at)
    local job = redis.pcall('GET', job_key .. id)
    local latest = type(job) == 'string' and tonumber(string.match(job, '"by":(%d+)'))
    if latest and tonumber(redis.call('ZSCORE', queue, id)) > now then
        redis.call('ZADD', queue, 'XX', 'GT', math.min(sounds_at, latest), id)
    end
end

if ended ~= '' then
    redis.call('DEL', retry_key .. ended, answering_key .. ended, job_key .. ended)
    redis.call('ZREM', queue, ended)
end
local rung = {}
local is_heard = false
for at = 10, #ARGV, 7 do
    local key, first, last, sounds_at, lasts, job, how = unpack(ARGV, at, at + 6)
    if how == 'later' then first = first_waiting(key, first, last) end
    local id, is_new = ring_first(key, first, last, sounds_at, lasts, job)
    if not is_new and how == 'forward' then bring_forward(key, first, last, sounds_at) end
    if (is_new or how == 'forward') and tonumber(sounds_at) <= soon then is_heard = true end
    if id and not is_new and how == 'later' then put_off(id, sounds_at) end
    rung[#rung + 1] = is_new and 1 or 0
    rung[#rung + 1] = id and math.floor(redis.call('ZSCORE', queue, id) - now) or 0
end
if is_heard then redis.pcall('PUBLISH', channel, '') end
return rung
"""
#: Where those who listen hear at once of doorbells that sound soon; others find them with their next poll.
SOUNDS = "release:doorbells:sounds"
#: Those who listen poll at least as often.
SOON = timedelta(milliseconds=100)
#: A doorbell that many put off sounds all the same after that long: the window may have become shorter, or the batch
#: may be full of what came through several processes, which only a look can tell.
PUT_OFF_WITHIN = timedelta(seconds=0.5)
#: Set in a Redis that has not lost its memory since somebody looked.
_REMEMBERS = "release:doorbells:remembers"
_RING_TIMEOUT_SECONDS = 2.0
_NOW = timedelta(0)
_MILLISECOND = timedelta(milliseconds=1)
#: What arq puts before the id of a job.
_NAMES = (job_key_prefix, in_progress_key_prefix, result_key_prefix, retry_key_prefix)

_Words: TypeAlias = tuple[str | int | bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """The wish that a worker looks at a key after a delay."""

    batch_key: UUID
    delay: timedelta
    #: Whether a doorbell that waits already is brought forward to that moment.
    brings_forward: bool = False
    #: How long the doorbell may be put off by others that say so too, and one that waits by this; None: not at all.
    latest: timedelta | None = None
    #: Whether it is for what was put off: who rings meanwhile is heard in his own time, since of the other doorbells
    #: one that waits stands for all.
    is_for_later: bool = False

    @classmethod
    def at_once(cls, batch_key: UUID) -> "Ring":
        """Wish for a look now, also where the doorbell of the key was to wait."""
        return cls(batch_key=batch_key, delay=_NOW, brings_forward=True)

    @classmethod
    def later(cls, batch_key: UUID, *, delay: timedelta) -> "Ring":
        """Wish for a look after a delay at what was put off, or earlier where that has been asked for."""
        return cls(batch_key=batch_key, delay=delay, brings_forward=True, is_for_later=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What a ring has come to."""

    #: False where a doorbell of the key waits already.
    is_new: bool
    #: After how long it sounds; not above zero where it does now, or where all are being answered.
    waits: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Bell:
    """A doorbell that sounds."""

    job_id: str
    batch_key: UUID
    #: Whether it is the last that is rung of its key, or the only one for later.
    is_last: bool

    @classmethod
    def of(cls, job_id: str) -> "Bell | None":
        """Read the id of an arq job; None where it is no doorbell's."""
        found = _ID_OF_A_BELL.fullmatch(job_id)
        if found is None:
            return None
        key, number = found.groups()
        return cls(job_id=job_id, batch_key=UUID(hex=key), is_last=int(number) >= BELLS_PER_KEY - 1)


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
        (rung,) = await self.ring_all([Ring(batch_key=batch_key, delay=delay)])
        return rung.is_new

    async def ring_at_once(self, batch_key: UUID) -> bool:
        """Have a worker look at the key now, also where its doorbell was to wait; False where that was all.

        Raises:
            QueueUnavailable: Redis does not answer; the sweep will ring.
        """
        (rung,) = await self.ring_all([Ring.at_once(batch_key)])
        return rung.is_new

    async def ring_all(self, rings: Sequence[Ring]) -> list[Rung]:
        """Ring for several keys in one trip to Redis.

        Raises:
            QueueUnavailable: Redis does not answer; the sweep will ring.
        """
        with translated():
            async with asyncio.timeout(_RING_TIMEOUT_SECONDS):
                found = await self._ring(keys=[DOORBELL_QUEUE], args=_arguments(rings))
        return [
            Rung(is_new=is_new == 1, waits=_MILLISECOND * waits)
            for is_new, waits in zip(found[::2], found[1::2], strict=True)
        ]

    async def end(self, bell: Bell, ring: Ring | None) -> None:
        """Forget a doorbell that was answered, and ring for the next look in the same trip.

        Raises:
            RedisError: Redis does not answer, or its keys are no doorbells'.
        """
        await self._ring(keys=[DOORBELL_QUEUE], args=_arguments([ring] if ring else (), ended=bell.job_id))

    async def has_lost_memory(self) -> bool:
        """Tell, once, that Redis has forgotten everything since somebody asked last.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        with translated():
            return bool(await self._redis.set(_REMEMBERS, "1", nx=True))


def _arguments(rings: Sequence[Ring], *, ended: str = "") -> _Words:
    now = now_ms()
    words = chain.from_iterable(_words_of(ring, now) for ring in rings)
    return (*_NAMES, _LONGEST_ANSWER_MS, SOUNDS, ended, now, SOON // _MILLISECOND, *words)


def _words_of(ring: Ring, now: int) -> _Words:
    """Return what the script is told of a ring: the job, its moment, and which doorbells of the key it may be."""
    defer_ms = max(ring.delay, _NOW) // _MILLISECOND
    lasts = defer_ms + expires_extra_ms
    first, last = (_LATER_BELL, _LATER_BELL) if ring.is_for_later else (0, BELLS_PER_KEY - 1)
    return _stem(ring.batch_key), first, last, now + defer_ms, lasts, _job_of(ring, now), _how(ring)


def _job_of(ring: Ring, now: int) -> bytes:
    """Write the job as arq would, and beside its members until when it may be put off."""
    latest = {} if ring.latest is None else {"by": now + ring.latest // _MILLISECOND}
    return arq_job(
        LOOK, (ring.batch_key.hex,), {}, None, now, serializer=lambda job: serialize_job(job | latest)
    )


def _how(ring: Ring) -> str:
    if ring.brings_forward:
        return "forward"
    return "" if ring.latest is None else "later"


def bell_id(batch_key: UUID, number: int) -> str:
    """Return arq's id for a doorbell of a key; the same key and number, the same id."""
    return f"{_stem(batch_key)}:{number}"


def _stem(batch_key: UUID) -> str:
    return f"{LOOK}:{batch_key.hex}"
