"""Calls of callers and the service's own looks share a limiter, on a real Valkey."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from arq.connections import ArqRedis

from service.flow.passing import caller_of_vendor, take_turn
from service.flow.vendor_lists import reader_of
from service.gateways.limits import READ, Credential, Limits
from service.gateways.permits import Permit, Permits
from service.gateways.queue import open_redis
from service.gateways.room import Room

LIMITS = Limits(rate=10, workspace_rate=0, concurrency=4, permit_life=timedelta(seconds=30))
CREDENTIAL = Credential(name="c", key_digest="k", has_to_prove_itself=False)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    client = open_redis(redis_url, max_connections=64, retries=0)
    yield client
    await client.aclose()


async def reads_of(redis: ArqRedis, limits: Limits) -> Permits:
    """A limiter of reads that is past its first second."""
    permits = Permits(redis, limits, credential=CREDENTIAL, operation=READ)
    await permits.prepare()
    await redis.delete("release:permits:settling")
    return permits


async def test_a_look_of_our_own_waits_behind_few_reads_of_callers(redis: ArqRedis) -> None:
    """Forty callers that read a workspace do not keep a reconcile of it waiting for more than some of them."""
    permits = await reads_of(redis, replace(LIMITS, concurrency=1_000))
    order: list[str] = []

    async def read(name: str) -> None:
        asking = caller_of_vendor("p", "ws") if name == "caller" else reader_of("p", "ws")
        assert isinstance(await take_turn(permits, asking), Permit)
        order.append(name)

    callers = [asyncio.create_task(read("caller")) for _ in range(40)]
    await asyncio.wait(callers, return_when=asyncio.FIRST_COMPLETED)
    before = len(order)
    await read("own")
    await asyncio.gather(*callers)

    assert len(order) == 41
    assert order.index("own") - before <= 10


async def test_slow_reads_of_callers_leave_room_for_our_own(redis: ArqRedis) -> None:
    """However many calls of callers are under way, a look of our own finds its turn at once."""
    permits = await reads_of(redis, replace(LIMITS, rate=0))
    turns = [await take_turn(permits, caller_of_vendor("p", f"ws-{number}")) for number in range(12)]

    assert all(isinstance(turn, Permit) for turn in turns)
    assert isinstance(await permits.ask(reader_of("p", "ws")), Permit)


async def test_whoever_comes_beyond_the_room_is_told_so() -> None:
    """Two calls at once, one that waits, and the fourth is told at once; a place that is left is taken by who waits."""
    room = Room(calls=2, waiting=1)
    may_leave = asyncio.Event()
    has_places: list[bool] = []

    async def call() -> None:
        async with room.place(within=timedelta(seconds=30)) as has_place:
            has_places.append(has_place)
            if has_place:
                await may_leave.wait()

    calls = [asyncio.create_task(call()) for _ in range(4)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    at_first = list(has_places)
    may_leave.set()
    await asyncio.gather(*calls)

    assert at_first == [True, True, False]
    assert has_places == [True, True, False, True]


async def test_a_place_that_does_not_come_free_in_time_is_none() -> None:
    """Who waits for too long leaves, and the next one finds the place that is free by then."""
    room = Room(calls=1, waiting=5)
    within = timedelta(seconds=0.01)
    async with room.place(within=within) as first, room.place(within=within) as second:
        pass
    async with room.place(within=timedelta(seconds=1)) as third:
        pass

    assert (first, second, third) == (True, False, True)
