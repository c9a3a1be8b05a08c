"""The limiter where a workspace has limits of its own, and after it was resumed."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from arq.connections import ArqRedis

from service.core.model import WaitReason
from service.core.workspaces import OwnSettings
from service.gateways.limits import Asking
from service.gateways.permits import Permit, Permits, Refused
from service.gateways.queue import open_redis
from tests.gateways.test_permits import asking, limits, most_in_a_second, proven, take


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    client = open_redis(redis_url, max_connections=64, retries=0)
    yield client
    await client.aclose()


def with_own(who: Asking, *, rate: float | None = None, concurrency: int | None = None) -> Asking:
    return replace(who, own=OwnSettings(rate=rate, concurrency=concurrency))


async def take_all(permits: Permits, count: int, who: Asking) -> list[float]:
    """Take permits for as many keys as calls, one call each; returns when they came, in order."""
    askings = [replace(who, batch_key=asking().batch_key) for _ in range(count)]
    return sorted(await asyncio.gather(*(take(permits, one) for one in askings)))


async def test_a_workspace_keeps_to_the_rate_of_its_own(redis: ArqRedis) -> None:
    """Twelve calls of a workspace at 10 a second take as long as that; one of another workspace does not wait."""
    permits = await proven(redis, limits(workspace_rate=0))
    times = await take_all(permits, 12, with_own(asking(), rate=10))
    before = time.monotonic()
    other = await take(permits, asking(workspace="other"))

    assert times[-1] - times[0] > 1.0
    assert most_in_a_second(times) <= 12
    assert other - before < 1.0


async def test_a_rate_of_none_of_its_own_lifts_that_of_the_deployment(redis: ArqRedis) -> None:
    """Zero is no limit, also where all other workspaces have one."""
    permits = await proven(redis, limits(workspace_rate=0.1))
    answers = [await permits.ask(with_own(asking(), rate=0)) for _ in range(5)]
    other = [await permits.ask(asking(workspace="other")) for _ in range(2)]

    assert all(isinstance(answer, Permit) for answer in answers)
    assert [type(answer) for answer in other] == [Permit, Refused]


async def test_a_lower_rate_holds_with_the_next_call(redis: ArqRedis) -> None:
    """Whoever asks at the new rate waits for it, whatever the workspace could do a moment ago."""
    permits = await proven(redis, limits(workspace_rate=100))
    await take_all(permits, 5, asking())
    slow = with_own(asking(), rate=0.5)
    granted = await permits.ask(slow)
    refused = await permits.ask(replace(slow, batch_key=asking().batch_key))

    assert isinstance(refused, Refused)
    assert refused.reason is WaitReason.WORKSPACE_RATE
    assert isinstance(granted, Permit) or granted.reason is WaitReason.WORKSPACE_RATE


async def test_a_higher_rate_does_not_wait_for_the_lower_one(redis: ArqRedis) -> None:
    """After a call at one in a thousand seconds, the next at twenty a second waits for that rate alone."""
    permits = await proven(redis, limits())
    slow = with_own(asking(), rate=0.001)
    await take(permits, slow)
    refused = await permits.ask(replace(slow, batch_key=asking().batch_key))
    times = await take_all(permits, 6, with_own(asking(), rate=20))

    assert isinstance(refused, Refused)
    assert refused.delay.total_seconds() > 100
    assert times[-1] - times[0] < 5.0
    assert times[-1] - times[0] > 5 / 20 - 0.05


async def test_a_workspace_has_as_many_calls_at_once_as_are_its_own(redis: ArqRedis) -> None:
    """The third call waits where two are allowed, and goes when one has ended."""
    permits = await proven(redis, limits())
    two = with_own(asking(), concurrency=2)
    keys = [replace(two, batch_key=asking().batch_key) for _ in range(3)]
    answers = [await permits.ask(key) for key in keys]
    elsewhere = await permits.ask(asking(workspace="other"))
    assert isinstance(answers[0], Permit)
    await permits.conclude(keys[0], answers[0], outcome=None, pause=None)
    await take(permits, keys[2])

    assert isinstance(answers[1], Permit)
    assert isinstance(answers[2], Refused)
    assert answers[2].reason is WaitReason.CONCURRENCY
    assert isinstance(elsewhere, Permit)


@pytest.mark.parametrize(
    ("rate", "workspace_rate", "most"), [(8, 0, 5), (0, 8, 5), (40, 4, 3)], ids=["credential", "own", "both"]
)
async def test_the_first_second_after_a_resumption_has_half_the_rate(
    redis: ArqRedis, rate: float, workspace_rate: float, most: int
) -> None:
    """From the first call on a resumed workspace has half its rate, and then its rate."""
    permits = await proven(redis, limits(rate=rate, workspace_rate=workspace_rate))
    resumed = replace(asking(), resumed_at=datetime.now(UTC))
    times = await take_all(permits, most + 3, resumed)

    assert sum(at < times[0] + 1.0 for at in times) <= most
    assert times[-1] - times[most] < 1.0 + 3 / (workspace_rate or rate)


async def test_a_resumption_slows_once(redis: ArqRedis) -> None:
    """Calls that name a resumption of which the limiter has heard begin no slow start; a new one does."""
    permits = await proven(redis, limits(workspace_rate=100))
    resumed = replace(asking(), resumed_at=datetime.now(UTC))
    await take(permits, resumed)
    slow = "release:permits:c:create_package:p/ws:slow"
    first = await redis.delete(slow)
    await take(permits, replace(resumed, batch_key=asking().batch_key))
    again = await redis.exists(slow)
    await take(permits, replace(resumed, resumed_at=datetime.now(UTC)))

    assert (first, again, await redis.exists(slow)) == (1, 0, 1)


async def test_a_resumption_slows_no_other_workspace(redis: ArqRedis) -> None:
    """While one workspace starts slowly, another has its rate."""
    permits = await proven(redis, limits(workspace_rate=20))
    await take(permits, replace(asking(), resumed_at=datetime.now(UTC)))
    await take(permits, asking(workspace="other"))
    slow = await redis.keys("release:permits:*:slow")

    assert slow == [b"release:permits:c:create_package:p/ws:slow"]
