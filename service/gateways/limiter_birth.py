"""Gives a limiter without memory back what is known elsewhere, and begins its first second."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from service.core.breakers import Breaker, BreakerReason
from service.core.limiter_memory import LimiterMemory, Rest, RunningCall
from service.gateways.limiter_keys import BORN, SETTLING, LimiterKeys, call_member
from service.gateways.scripts import is_born

#: After a loss of Redis nothing is known of the last second, so it is waited out.
SETTLING_TIME = timedelta(seconds=1)
_SLOW_START = timedelta(seconds=1)
_HOUR_MS = 3_600_000
_MILLISECOND = timedelta(milliseconds=1)


async def bear(redis: Redis, keys: LimiterKeys, memory: LimiterMemory, *, run: str) -> None:
    """Begin the memory of this run of the server, unless somebody else has meanwhile: permits may have been given."""
    async with redis.pipeline(transaction=True) as pipeline:
        await pipeline.watch(BORN)
        if await is_born(pipeline, BORN, run):
            return
        seconds, microseconds = await pipeline.time()
        cast("Callable[[], None]", pipeline.multi)()
        _put_back_calls(pipeline, keys, memory.calls, now_ms=seconds * 1000 + microseconds // 1000)
        for breaker in memory.breakers:
            _put_back_breaker(pipeline, keys, breaker)
        for rest in memory.rests:
            _put_back_rest(pipeline, keys, rest)
        pipeline.set(SETTLING, "1", px=SETTLING_TIME)
        pipeline.set(BORN, run)
        with suppress(WatchError):
            await pipeline.execute()


def _put_back_calls(
    pipeline: Pipeline, keys: LimiterKeys, calls: Sequence[RunningCall], *, now_ms: int
) -> None:
    """Count the calls that are under way, and no others: who has only a permit so far will learn that it is void."""
    pipeline.delete(*(keys.creates_in_flight(place) for place in {None, *(call.place for call in calls)}))
    for call in calls:
        for key in (keys.creates_in_flight(None), keys.creates_in_flight(call.place)):
            pipeline.zadd(key, {call_member(call.batch_id): now_ms + call.lease_left // _MILLISECOND})
            pipeline.pexpire(key, _HOUR_MS)


def _put_back_breaker(pipeline: Pipeline, keys: LimiterKeys, breaker: Breaker) -> None:
    if breaker.until is None:
        return
    ends, changed = (round(moment.timestamp() * 1000) for moment in (breaker.until, breaker.changed_at))
    if breaker.reason is BreakerReason.AUTHENTICATION:
        pipeline.set(keys.breaker, "1", pxat=ends)
        pipeline.delete(keys.proven)  # an old snapshot may still have it
        return
    place = f"{breaker.project_id}/{breaker.workspace}" if breaker.workspace else None
    key = keys.failure_breaker(place)
    pipeline.hset(key, mapping={"until": ends, "changed": changed, "openings": breaker.openings})
    pipeline.pexpireat(key, ends + _HOUR_MS)
    if place:
        pipeline.zadd(keys.open_places, {place: ends + _HOUR_MS})


def _put_back_rest(pipeline: Pipeline, keys: LimiterKeys, rest: Rest) -> None:
    pause, slow = keys.pause_of(rest.place)
    pipeline.set(pause, "1", px=rest.left + _MILLISECOND)
    pipeline.set(slow, "1", px=rest.left + _SLOW_START)
