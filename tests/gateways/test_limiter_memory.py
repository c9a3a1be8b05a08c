"""What the limiter makes of a memory that is not its own: an old snapshot, or what a stranger has written."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from arq.connections import ArqRedis
from structlog.testing import capture_logs

from service.core.breakers import Breaker, BreakerReason
from service.core.limiter_memory import LimiterMemory, Rest, RunningCall
from service.core.model import WaitReason
from service.core.outcomes import Throttled, ThrottleScope
from service.embedded.valkey import EmbeddedValkey
from service.gateways.limits import Limits
from service.gateways.permits import Permit, Permits, Refused
from service.gateways.queue import open_redis
from service.gateways.vendor.throttling import MAX_RETRY_AFTER
from tests.gateways.test_permits import (
    CREDENTIAL,
    DOUBT,
    NO_WORDS,
    asking,
    failing_limits,
    is_held,
    limits,
    most_in_a_second,
    proven,
    take,
)
from tests.support.servers import server_directory
from tests.support.waiting import eventually


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

    async def recall(_credential: str) -> LimiterMemory:
        return LimiterMemory(breakers=(refused,))

    await proven(redis, limits())
    await redis.delete("release:permits:born")
    permits = Permits(redis, limits(), credential=CREDENTIAL, recall=recall)
    await permits.prepare()
    await redis.delete("release:permits:settling", "release:permits:c:breaker")
    answers = [await permits.ask(asking()) for _ in range(2)]
    await redis.aclose()

    assert [isinstance(answer, Permit) for answer in answers] == [True, False]


def call_of(number: int, *, workspace: str = "ws") -> RunningCall:
    """A call that Postgres knows of."""
    return RunningCall(
        batch_id=UUID(int=number), project_id="p", workspace=workspace, lease_left=timedelta(seconds=30)
    )


async def reborn(redis: ArqRedis, memory: LimiterMemory, chosen: Limits) -> Permits:
    """A limiter that has lost its memory, and got back what is known elsewhere; its first second is over."""

    async def recall(_credential: str) -> LimiterMemory:
        return memory

    await redis.delete("release:permits:born")
    permits = Permits(redis, chosen, credential=CREDENTIAL, recall=recall)
    await permits.prepare()
    await redis.delete("release:permits:settling")
    await redis.set("release:permits:c:proven:k", "1")
    return permits


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    client = open_redis(redis_url, max_connections=4, retries=0)
    yield client
    await client.aclose()


async def test_calls_under_way_are_counted_by_a_limiter_without_memory(redis: ArqRedis) -> None:
    """Of three places two are taken, until the calls that take them have ended; so it is with those of a workspace."""
    chosen = replace(limits(concurrency=3), workspace_concurrency=1)
    memory = LimiterMemory(calls=(call_of(1), call_of(2, workspace="other")))
    permits = await reborn(redis, memory, chosen)
    askers = [asking(workspace=name) for name in ("ws", "third", "fourth")]
    at_first = [isinstance(await permits.ask(who), Permit) for who in askers]
    for call in memory.calls:
        ended = Permit(permit_id="given by the limiter before", batch_id=call.batch_id)
        await permits.conclude(asking(workspace=call.workspace), ended, outcome=None, pause=None)
    afterwards = [isinstance(await permits.ask(who), Permit) for who in (askers[0], askers[2])]
    too_many = await permits.ask(asking(workspace="fifth"))

    assert at_first == [False, True, False]
    assert afterwards == [True, True]
    assert isinstance(too_many, Refused)


async def test_a_permit_of_a_lost_memory_is_void(redis: ArqRedis) -> None:
    """Before and after the limiter is told anew, it lets nobody write who had a permit before."""
    permits = await proven(redis, limits())
    who = asking()
    permit = await permits.ask(who)
    assert isinstance(permit, Permit)
    at_first = await is_held(permits, who, permit)
    await redis.delete("release:permits:born")
    without_memory = await is_held(permits, who, permit)
    await permits.prepare()
    with_another = await is_held(permits, who, permit)

    assert (at_first, without_memory, with_another) == (False, True, True)


async def test_a_permit_that_has_run_out_is_void(redis: ArqRedis) -> None:
    """A worker that was frozen for longer than its permit lasts writes nothing: others may have its place."""
    permits = await proven(redis, limits(life=0.2))
    who = asking()
    permit = await permits.ask(who)
    assert isinstance(permit, Permit)
    at_first = await is_held(permits, who, permit)

    async def has_run_out() -> bool:
        return await is_held(permits, who, permit)

    await eventually(has_run_out)

    assert at_first is False


async def test_calls_of_an_old_snapshot_take_no_place(redis: ArqRedis) -> None:
    """A call that ended since the snapshot was made is forgotten with the rest of that memory."""
    chosen = limits(concurrency=1)
    await (await proven(redis, chosen)).ask(asking())
    permits = await reborn(redis, LimiterMemory(), chosen)

    assert isinstance(await permits.ask(asking()), Permit)


async def test_only_the_first_to_tell_a_limiter_is_heard(redis: ArqRedis) -> None:
    """A worker that read what is known before another one began the memory takes nothing back of what that gave."""
    chosen = limits(concurrency=1)
    permits = await proven(redis, chosen)
    await redis.delete("release:permits:born")

    async def recall(_credential: str) -> LimiterMemory:
        await permits.prepare()
        await redis.delete("release:permits:settling")
        assert isinstance(await permits.ask(asking()), Permit)
        return LimiterMemory()

    late = Permits(redis, chosen, credential=CREDENTIAL, recall=recall)
    await late.prepare()

    assert isinstance(await late.ask(asking()), Refused)


async def test_the_times_that_the_vendor_asked_for_survive_the_loss_of_redis(redis: ArqRedis) -> None:
    """A workspace that it throttled rests for what is left of its time; then all calls do, where it named the user."""
    of_workspace = Rest(project_id="p", workspace="ws", left=timedelta(seconds=4))
    permits = await reborn(redis, LimiterMemory(rests=(of_workspace,)), limits())
    here, there = [await permits.ask(asking(workspace=name)) for name in ("ws", "other")]
    of_all = replace(of_workspace, project_id="", workspace="")
    permits = await reborn(redis, LimiterMemory(rests=(of_all,)), limits())
    anywhere = await permits.ask(asking(workspace="other"))

    assert isinstance(here, Refused)
    assert here.reason is WaitReason.WORKSPACE_RATE
    assert here.delay > timedelta(seconds=2)
    assert isinstance(there, Permit)
    assert isinstance(anywhere, Refused)
    assert anywhere.reason is WaitReason.RATE


OPERATION = "release:permits:c:create_package"
WORKSPACE = f"{OPERATION}:p/ws"
CREDENTIAL_KEY = "release:permits:c"
YEARS_MS = 10**11
FAR = 10**15
KEY = UUID(int=7)
NUMBERS = ("1e300", "inf", "nan", "-1e18", "-1", "text", "")


@pytest.mark.parametrize(
    "command",
    [
        *(("HSET", key, "tat", number) for key in (OPERATION, WORKSPACE) for number in NUMBERS),
        *(("HSET", OPERATION, field, FAR) for field in ("virtual", "full")),
        *(("HSET", WORKSPACE, field, "nan") for field in ("virtual", "next", "next_of_operation")),
        *(("SET", f"{WORKSPACE}:tag:{KEY.hex}", number) for number in ("1e300", "nan", "text")),
        *(
            ("SET", key, "1", "PX", YEARS_MS)
            for key in (
                "release:permits:settling",
                f"{CREDENTIAL_KEY}:breaker",
                *(f"{scope}:{name}" for scope in (OPERATION, WORKSPACE) for name in ("pause", "slow")),
            )
        ),
        *(("ZADD", f"{scope}:in_flight", FAR, "x", "inf", "y") for scope in (OPERATION, WORKSPACE)),
        *(
            ("ZADD", f"{scope}:{name}", FAR, "x")
            for scope in (OPERATION, WORKSPACE)
            for name in ("queue", "back")
        ),
        *(
            ("HSET", f"{scope}:breaker", field, FAR)
            for scope in (OPERATION, WORKSPACE)
            for field in ("until", "probe_until", "changed")
        ),
        ("SET", f"{OPERATION}:recovered", FAR),
        ("HSET", f"{OPERATION}:retries", "left", "-1e18", "at", "1"),
        ("HSET", f"{OPERATION}:retries", "left", "1", "at", FAR),
    ],
)
async def test_what_no_worker_can_have_written_is_forgotten(
    redis_url: str, command: tuple[str | int, ...]
) -> None:
    """A stranger's value is dropped with one line in the log, a second is waited out, and calls go on."""
    redis = open_redis(redis_url, max_connections=4, retries=0)
    chosen = replace(limits(rate=20, workspace_rate=20, concurrency=2), workspace_concurrency=2)
    permits = await proven(redis, chosen)
    await redis.execute_command(*command)  # type: ignore[no-untyped-call]
    started = time.monotonic()
    with capture_logs() as lines:
        got_at = await take(permits, asking(key=KEY), within=3.0)
    await redis.aclose()

    assert [line["event"] for line in lines] == ["entry.dropped"]
    assert 0.8 < got_at - started < 2.5


@pytest.mark.parametrize(
    "command",
    [
        ("SET", f"{WORKSPACE}:lead", "-1000"),
        ("SET", f"{WORKSPACE}:lead", "1e300"),
        ("ZADD", f"{OPERATION}:active", FAR, "x"),
        ("ZADD", f"{OPERATION}:open", FAR, "x"),
        ("SET", f"{OPERATION}:pause", "1", "PX", YEARS_MS),
        ("HSET", f"{WORKSPACE}:breaker", "openings", "-1e18"),
        ("HSET", f"{OPERATION}:retries", "left", "-1e18", "at", "1"),
    ],
)
async def test_an_outcome_is_kept_whatever_strangers_wrote(
    redis_url: str, command: tuple[str | int, ...]
) -> None:
    """A stranger's value in what outcomes are counted by is dropped with one line, and the outcome counts."""
    redis = open_redis(redis_url, max_connections=4, retries=0)
    permits = await proven(redis, failing_limits(pause=30))
    permit = await permits.ask(asking())
    assert isinstance(permit, Permit)
    await redis.execute_command(*command)  # type: ignore[no-untyped-call]
    with capture_logs() as lines:
        await permits.conclude(asking(), permit, outcome=DOUBT, pause=None)
    lead = await redis.get(f"{WORKSPACE}:lead")
    await redis.aclose()

    assert [line["event"] for line in lines] == ["entry.dropped"]
    assert lead == b"1"


async def test_the_longest_values_of_ours_are_kept(redis_url: str) -> None:
    """A pause of an hour, the longest that the vendor gets, and calls of the slowest rate are no stranger's."""
    redis = open_redis(redis_url, max_connections=4, retries=0)
    permits = await proven(redis, limits(rate=0.001))
    await take(permits, asking())
    first, second = [await permits.ask(asking()) for _ in range(2)]
    throttled = Throttled(error=NO_WORDS, retry_after=MAX_RETRY_AFTER, scope=ThrottleScope.OPERATION)
    with capture_logs() as lines:
        await permits.conclude(asking(), Permit(permit_id="-"), outcome=throttled, pause=MAX_RETRY_AFTER)
        paused = await permits.ask(asking())
    await redis.aclose()

    assert lines == []
    assert [isinstance(answer, Refused) for answer in (first, second, paused)] == [True] * 3
