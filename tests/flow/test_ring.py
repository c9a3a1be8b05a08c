"""The waker on a real Valkey: one doorbell a key, in time, whatever else happens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from arq.connections import ArqRedis

from service.background import running
from service.core.errors import DatabaseUnavailable
from service.core.place import Place
from service.core.planning import Window
from service.core.workspaces import Governance, OwnSettings
from service.embedded.valkey import EmbeddedValkey
from service.flow.ring import Waker
from service.flow.windows import ReadWindows, Windows
from service.gateways.doorbells import Doorbells, Ring
from service.gateways.queue import DOORBELL_QUEUE, open_redis
from tests.support.waiting import eventually

KEY = UUID("01a20c90-d17e-7ddc-9a17-59560f4323c6")
PLACE = Place(project_id="p", workspace="w")


async def no_own_windows() -> dict[Place, Governance]:
    return {}


class Bell:
    """A running waker, and a look at the doorbells that it has rung."""

    def __init__(self, redis: ArqRedis, doorbells: Doorbells, waker: Waker) -> None:
        self.doorbells = doorbells
        self.waker = waker
        self._redis = redis

    async def waiting(self) -> dict[str, float]:
        """Return the doorbells on the queue: job id to seconds from now."""
        seconds, micros = await self._redis.time()
        now_ms = seconds * 1000 + micros / 1000
        entries = await self._redis.zrange(DOORBELL_QUEUE, 0, -1, withscores=True)
        return {job_id.decode(): (score - now_ms) / 1000 for job_id, score in entries}

    async def moments(self) -> dict[str, float]:
        """Return the doorbells on the queue, and when they sound."""
        entries = await self._redis.zrange(DOORBELL_QUEUE, 0, -1, withscores=True)
        return {job_id.decode(): score for job_id, score in entries}

    async def consume(self) -> None:
        """Take every doorbell off, as a worker does that has answered it."""
        for job_id in await self.waiting():
            await self._redis.delete(f"arq:job:{job_id}")
        await self._redis.delete(DOORBELL_QUEUE)


@asynccontextmanager
async def ringing(
    url: str,
    *,
    quiet: float = 0.5,
    linger: float = 2.0,
    read: ReadWindows = no_own_windows,
    **within: timedelta,
) -> AsyncIterator[Bell]:
    window = Window(max_items=10, quiet=timedelta(seconds=quiet), linger=timedelta(seconds=linger))
    redis = open_redis(url, max_connections=8, retries=0)
    doorbells = Doorbells(redis)
    waker = Waker(
        doorbells,
        Windows(window, read=read),
        **{"first_look_within": timedelta(hours=2), **within},
    )
    bell = Bell(redis, doorbells, waker)
    try:
        async with running(bell.waker.run()):
            yield bell
    finally:
        await redis.aclose()


async def test_a_note_rings_after_the_quiet_time(redis_url: str) -> None:
    """One item of a key leads to one doorbell that sounds after the quiet time."""
    async with ringing(redis_url, quiet=60.0) as bell:
        bell.waker.note(KEY, PLACE, items=1)
        waiting = await eventually(bell.waiting)

    assert len(waiting) == 1
    assert 55.0 < next(iter(waiting.values())) <= 60.0


async def test_many_notes_share_one_doorbell_a_key(redis_url: str) -> None:
    """However many items come, each key has one doorbell."""
    keys = [uuid4() for _ in range(20)]
    async with ringing(redis_url, quiet=60.0) as bell:
        for key in keys * 5:
            bell.waker.note(key, PLACE, items=1)
        waiting = await eventually(bell.waiting)
        await eventually(lambda: has_bells(bell, 20))
        bell.waker.note(keys[0], PLACE, items=1)

        assert waiting
        assert len(await bell.waiting()) == 20


async def has_bells(bell: Bell, count: int) -> bool:
    return len(await bell.waiting()) == count


async def test_a_full_batch_rings_at_once(redis_url: str) -> None:
    """When a key has as many items as a batch holds, its doorbell sounds now."""
    async with ringing(redis_url, quiet=60.0) as bell:
        bell.waker.note(KEY, PLACE, items=9)
        await eventually(lambda: has_bells(bell, 1))
        early = await bell.waiting()
        bell.waker.note(KEY, PLACE, items=1)
        await eventually(lambda: is_due(bell))

    assert min(early.values()) > 50.0


async def is_due(bell: Bell) -> bool:
    return min((await bell.waiting()).values()) <= 0.0


async def test_a_deadline_rings_at_once(redis_url: str) -> None:
    """An item with a deadline may close the window early, so somebody looks now."""
    async with ringing(redis_url, quiet=60.0) as bell:
        bell.waker.note(KEY, PLACE, items=1, has_deadline=True)
        await eventually(lambda: has_bells(bell, 1))
        await eventually(lambda: is_due(bell))


async def test_an_item_after_a_doorbell_that_sounded_early_is_not_forgotten(redis_url: str) -> None:
    """Another process may make a doorbell sound early; an item that comes after that has one of its own in time."""
    async with ringing(redis_url, quiet=0.5) as bell:
        bell.waker.note(KEY, PLACE, items=1)
        await eventually(lambda: has_bells(bell, 1))
        await bell.consume()
        bell.waker.note(KEY, PLACE, items=1)
        waiting = await eventually(bell.waiting, within=1.0)

    assert len(waiting) == 1


async def test_newcomers_put_the_doorbell_off(redis_url: str) -> None:
    """It sounds the quiet time after the last of them, so that nobody looks at an open window in vain."""
    async with ringing(redis_url, quiet=2.0, linger=3600.0, put_off_within=timedelta(hours=1)) as bell:
        bell.waker.note(KEY, PLACE, items=1)
        (first,) = (await eventually(bell.moments)).values()

        bell.waker.note(KEY, PLACE, items=1)

        async def is_put_off() -> bool:
            return min((await bell.moments()).values()) > first

        await eventually(is_put_off)
        assert len(await bell.moments()) == 1


async def test_redis_may_go_and_come_back(own_valkey: EmbeddedValkey) -> None:
    """Without Redis notes are lost, not the waker; the next note after its return rings."""
    async with ringing(own_valkey.url) as bell:
        await own_valkey.stop()
        for _ in range(50):
            bell.waker.note(uuid4(), PLACE, items=1)
        await eventually(lambda: bell.waker.remembered == 50)
        await own_valkey.start()
        bell.waker.note(KEY, PLACE, items=1)
        await eventually(lambda: rings_for(bell, KEY), within=10.0)


async def rings_for(bell: Bell, key: UUID) -> bool:
    return any(key.hex in job_id for job_id in await bell.waiting())


async def test_keys_that_are_quiet_are_forgotten(redis_url: str) -> None:
    """What is remembered of a key goes when it has had no items for a while."""
    async with ringing(redis_url, quiet=0.01, linger=0.05) as bell:
        for _ in range(200):
            bell.waker.note(uuid4(), PLACE, items=1)
        await eventually(lambda: bell.waker.remembered >= 200)

        def is_tidy() -> bool:
            bell.waker.note(KEY, PLACE, items=1)
            return bell.waker.remembered <= 1

        await eventually(is_tidy, within=5.0, every=0.1)


@pytest.mark.parametrize("items", [10, 25, 100])
async def test_more_than_a_batch_at_once_rings_at_once(redis_url: str, items: int) -> None:
    """One note of a batch or more needs no waiting for others."""
    async with ringing(redis_url, quiet=60.0) as bell:
        bell.waker.note(KEY, PLACE, items=items)
        await eventually(lambda: has_bells(bell, 1))
        await eventually(lambda: is_due(bell))


async def test_a_look_far_away_keeps_nobody_from_ringing(redis_url: str) -> None:
    """A doorbell for a later time is not taken for the one that a new item needs."""
    async with ringing(redis_url, quiet=0.5) as bell:
        await bell.doorbells.ring_all([Ring.later(KEY, delay=timedelta(hours=1))])
        bell.waker.note(KEY, PLACE, items=1)
        await eventually(lambda: has_bells(bell, 2))

        assert min((await bell.waiting()).values()) < 1.0


async def test_of_two_looks_far_away_the_earlier_one_counts(redis_url: str) -> None:
    """A doorbell for a later time can be brought forward, and is not put off again."""
    async with ringing(redis_url) as bell:
        for minutes in (60, 5, 30):
            await bell.doorbells.ring_all([Ring.later(KEY, delay=timedelta(minutes=minutes))])
        waiting = await bell.waiting()

        assert [round(seconds / 60) for seconds in waiting.values()] == [5]


async def test_a_workspace_with_a_window_of_its_own_is_rung_for_by_that(redis_url: str) -> None:
    """Its quiet time and its size count, beside those of all others; and a change once it is told of."""
    own = {PLACE: Governance(own=OwnSettings(quiet=timedelta(seconds=600), max_items=2))}
    other, alone = uuid4(), uuid4()

    async def own_windows() -> dict[Place, Governance]:
        return own

    async with ringing(redis_url, quiet=60.0, read=own_windows) as bell:
        bell.waker.note(KEY, PLACE, items=1)
        bell.waker.note(other, Place(project_id="p", workspace="other"), items=1)
        await eventually(lambda: has_bells(bell, 2))
        waits = sorted((await bell.waiting()).values())
        bell.waker.note(KEY, PLACE, items=1)
        await eventually(lambda: is_due(bell))
        own[PLACE] = Governance(own=OwnSettings(quiet=timedelta(seconds=6_000)))
        await bell.waker.windows.read_anew()
        bell.waker.note(alone, PLACE, items=1)
        await eventually(lambda: has_bells(bell, 3))
        longest = max((await bell.waiting()).values())

    assert waits[0] <= 60.0
    assert 550.0 < waits[1] <= 600.0
    assert 5_500.0 < longest <= 6_000.0


async def test_doorbells_are_rung_while_postgres_is_away(redis_url: str) -> None:
    """Whoever cannot read the windows goes by those that it knows."""

    async def away() -> dict[Place, Governance]:
        raise DatabaseUnavailable("away")

    async with ringing(redis_url, quiet=60.0, read=away) as bell:
        bell.waker.note(KEY, PLACE, items=1)
        await eventually(lambda: has_bells(bell, 1))


async def test_a_long_window_is_looked_at_soon(redis_url: str) -> None:
    """It may have become shorter a moment ago, which only the look can tell; so nobody waits for it unseen."""
    async with ringing(redis_url, quiet=60.0, first_look_within=timedelta(seconds=5)) as bell:
        bell.waker.note(KEY, PLACE, items=1)
        waiting = await eventually(bell.waiting)

    assert max(waiting.values()) <= 5.0
