"""What the limiter makes of a memory that is not its own: an old snapshot, or what a stranger has written."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from arq.connections import ArqRedis

from service.core.breakers import Breaker, BreakerReason
from service.embedded.valkey import EmbeddedValkey
from service.gateways.permits import Permit, Permits
from service.gateways.queue import open_redis
from tests.gateways.test_permits import CREDENTIAL, asking, limits, most_in_a_second, proven, take
from tests.support.servers import server_directory


@pytest.fixture
async def snapshot_valkey() -> AsyncIterator[EmbeddedValkey]:
    """A server that comes back with what it had when SAVE was called last."""
    with server_directory() as directory:
        async with EmbeddedValkey(directory, settings={"appendonly": "no"}) as server:
            yield server


@pytest.fixture
async def snapshot_redis(snapshot_valkey: EmbeddedValkey) -> AsyncIterator[ArqRedis]:
    client = open_redis(snapshot_valkey.url, max_connections=8, retries=1)
    yield client
    await client.aclose()


async def test_an_old_snapshot_lets_no_more_through_than_the_bound(
    snapshot_valkey: EmbeddedValkey, snapshot_redis: ArqRedis
) -> None:
    """Killed right after a call and back with the keys from before it, the limiter waits a second as when empty."""
    permits = await proven(snapshot_redis, limits(rate=0.9))
    await snapshot_redis.save()
    times = [await take(permits, asking())]
    snapshot_valkey.kill()
    await snapshot_valkey.start()
    times.append(await take(permits, asking()))

    assert await snapshot_redis.exists("release:permits:c:proven:k"), "the snapshot should have come back"
    assert most_in_a_second(times) == 1


async def test_a_server_that_hides_its_run_gives_permits_all_the_same(redis_url: str) -> None:
    """Where an access list forbids INFO, the limiter works; only an old snapshot is then taken for its own."""
    admin = open_redis(redis_url, max_connections=2, retries=0)
    name = f"limiter-{time.monotonic_ns()}"
    await admin.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "+@all", "-info")  # type: ignore[no-untyped-call]
    user = open_redis(redis_url, max_connections=2, retries=0)
    user.connection_pool.connection_kwargs.update(username=name, password="pw")
    permits = await proven(user, replace(limits(), concurrency=2))
    answers = [await permits.ask(asking()) for _ in range(2)]
    await admin.execute_command("ACL", "DELUSER", name)  # type: ignore[no-untyped-call]
    for client in (user, admin):
        await client.aclose()

    assert all(isinstance(answer, Permit) for answer in answers)


async def test_an_old_proof_does_not_outlive_a_refusal(redis_url: str) -> None:
    """A credential that was refused after the snapshot makes one call at a time, as one that is not proven."""
    redis = open_redis(redis_url, max_connections=2, retries=0)
    now = datetime.now(UTC)
    refused = Breaker(
        credential="c",
        project_id="",
        workspace="",
        reason=BreakerReason.AUTHENTICATION,
        changed_at=now,
        openings=1,
        until=now + timedelta(seconds=60),
    )

    async def remembered(_credential: str) -> list[Breaker]:
        return [refused]

    await proven(redis, limits())
    await redis.delete("release:permits:born")
    permits = Permits(redis, limits(), credential=CREDENTIAL, remembered=remembered)
    await permits.prepare()
    await redis.delete("release:permits:settling", "release:permits:c:breaker")
    answers = [await permits.ask(asking()) for _ in range(2)]
    await redis.aclose()

    assert [isinstance(answer, Permit) for answer in answers] == [True, False]
