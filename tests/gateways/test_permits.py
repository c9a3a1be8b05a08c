"""The shared limiter, on a real Valkey and its real clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from arq.connections import ArqRedis
from structlog.testing import capture_logs

from service.core.breakers import Breaker, BreakerPolicy, BreakerReason
from service.core.errors import QueueUnavailable
from service.core.limiter_memory import LimiterMemory
from service.core.model import WaitReason
from service.core.outcomes import (
    InDoubt,
    NotSent,
    NotSentCause,
    Outcome,
    Rejected,
    Released,
    Throttled,
    ThrottleScope,
    VendorError,
)
from service.embedded.valkey import EmbeddedValkey
from service.gateways.limits import READ, Asking, Credential, Limits, tolerance_of
from service.gateways.permits import Permit, Permits, Refused
from service.gateways.queue import open_redis
from tests.support.waiting import eventually

CREDENTIAL = Credential(name="c", key_digest="k")
NO_WORDS = VendorError(status=None, error_code=None, error_msg=None, request_id=None)
NO = Rejected(
    may_be_an_item=True,
    error=VendorError(
        status=400, error_code="DLF.3051", error_msg="The request parameter is invalid.", request_id=None
    ),
)
RELEASED = Released(release_package_id="1", request_id=None)
DOUBT = InDoubt(reason="reset", error=NO_WORDS)
REFUSED_KEY = NotSent(cause=NotSentCause.AUTHENTICATION, error=NO_WORDS)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    client = open_redis(redis_url, max_connections=64, retries=0)
    yield client
    await client.aclose()


def limits(*, rate: float = 0, workspace_rate: float = 0, concurrency: int = 100, life: float = 30) -> Limits:
    return Limits(
        rate=rate,
        workspace_rate=workspace_rate,
        concurrency=concurrency,
        permit_life=timedelta(seconds=life),
    )


def failing_limits(*, pause: float, cap: float = 60, rate: float = 0) -> Limits:
    """Limits under which failures open breakers, and only ten retries are saved up."""
    policy = BreakerPolicy(pause=timedelta(seconds=pause), cap=timedelta(seconds=cap))
    return replace(limits(rate=rate), breaker=policy, retry_period=timedelta(hours=1))


async def proven(redis: ArqRedis, chosen: Limits) -> Permits:
    """A limiter that is past its first second and whose credential the vendor has taken."""
    permits = Permits(redis, chosen, credential=CREDENTIAL)
    await permits.prepare()
    await redis.delete("release:permits:settling")
    await redis.set("release:permits:c:proven:k", "1")
    return permits


def asking(*, workspace: str = "ws", key: UUID | None = None) -> Asking:
    return Asking(batch_key=key or uuid4(), project_id="p", workspace=workspace)


async def take(permits: Permits, who: Asking, *, within: float = 10.0, outcome: Outcome = RELEASED) -> float:
    """Ask again and again as told until there is a permit; returns when it came."""
    give_up_at = time.monotonic() + within
    while time.monotonic() < give_up_at:
        answer = await permits.ask(who)
        if isinstance(answer, Permit):
            at = time.monotonic()
            await permits.conclude(who, answer, outcome=outcome, pause=None)
            return at
        await asyncio.sleep(answer.delay.total_seconds())
    raise AssertionError("no permit in time")


def most_in_a_second(times: list[float]) -> int:
    return max(sum(start <= at < start + 1.0 for at in times) for start in times)


async def test_no_sliding_second_sees_more_than_the_rate_and_its_burst(redis: ArqRedis) -> None:
    """Twenty callers that always want more get 20 calls/s and at most 25 in any second, and use the rate."""
    permits = await proven(redis, limits(rate=20))
    times: list[float] = []

    async def caller() -> None:
        who = asking()
        times.extend([await take(permits, who) for _ in range(3)])

    await asyncio.gather(*(caller() for _ in range(20)))

    assert most_in_a_second(times) <= 25
    assert (len(times) - 1) / (max(times) - min(times)) > 0.5 * 20


async def test_callers_take_turns(redis: ArqRedis) -> None:
    """One that comes for the first time waits for at most one call of a caller that always wants more."""
    permits = await proven(redis, limits(rate=5))
    greedy, newcomer = asking(), asking()
    order: list[str] = []

    async def want(name: str, who: Asking, times: int) -> None:
        for _ in range(times):
            await take(permits, who)
            order.append(name)

    await want("greedy", greedy, 2)
    await asyncio.gather(want("greedy", greedy, 4), want("newcomer", newcomer, 2))

    assert "newcomer" in order[2:4]
    assert order.index("newcomer", order.index("newcomer") + 1) <= 6


@pytest.mark.parametrize(("rate", "concurrency"), [(20.0, 100), (0.0, 1)], ids=["rate", "calls at once"])
async def test_workspaces_take_turns_whatever_waits_in_them(
    redis: ArqRedis, rate: float, concurrency: int
) -> None:
    """Of a workspace with thirty keys that always want more at most two calls come before one of another workspace."""
    permits = await proven(redis, limits(rate=rate, concurrency=concurrency))
    order: list[str] = []

    async def want(workspace: str, times: int) -> None:
        who = asking(workspace=workspace)
        for _ in range(times):
            permit = await permit_for(permits, who)
            order.append(workspace)
            await asyncio.sleep(0.02)  # the call
            await permits.conclude(who, permit, outcome=RELEASED, pause=None)

    hot = [asyncio.create_task(want("hot", 4)) for _ in range(30)]
    before = []
    for _ in range(5):
        await eventually(partial(has_length, order, len(order) + 3))
        before.append(len(order))
        await want("cold", 1)
    met = [order.index("cold", start) - start for start in before]
    for task in hot:
        task.cancel()

    assert max(met) <= 2, met


def has_length(names: list[str], length: int) -> bool:
    return len(names) >= length


async def permit_for(permits: Permits, who: Asking) -> Permit:
    while True:
        match await permits.ask(who):
            case Permit() as permit:
                return permit
            case Refused(delay=delay):
                await asyncio.sleep(delay.total_seconds())


async def test_a_call_out_of_its_turn_moves_no_newcomer_back(redis: ArqRedis) -> None:
    """When the last of thirty keys is let through as nobody else comes, a new workspace goes before the rest."""
    permits = await proven(redis, limits(rate=4))
    hot = [asking(workspace="hot") for _ in range(30)]
    first, *others = [await permits.ask(who) for who in hot]
    await eventually(lambda: is_let_through(permits, hot[-1]), every=0.2)
    newcomer = await permits.ask(asking(workspace="new"))

    assert isinstance(first, Permit)
    assert {type(answer) for answer in others} == {Refused}
    assert isinstance(newcomer, Refused)
    assert newcomer.delay < timedelta(seconds=1), "a call or two, not thirty"


async def is_let_through(permits: Permits, who: Asking) -> bool:
    return isinstance(await permits.ask(who), Permit)


async def test_callers_whose_turn_is_far_are_no_strangers(redis: ArqRedis) -> None:
    """With a hundred callers at one call in 200 s the last looks again in an hour, and nothing is forgotten."""
    permits = await proven(redis, limits(rate=0.005))
    with capture_logs() as lines:
        answers = [await permits.ask(asking()) for _ in range(102)]

    assert lines == []
    assert max(answer.delay for answer in answers if isinstance(answer, Refused)) == timedelta(hours=1)


async def test_who_waits_for_its_workspace_keeps_no_other_waiting(redis: ArqRedis) -> None:
    """A caller that was first in the queue finds its workspace full; the next one of another has its permit at once."""
    permits = await proven(redis, replace(limits(concurrency=2), workspace_concurrency=1))
    for _ in range(3):
        await take(permits, asking(workspace="often"))
    busy = [asking(workspace=name) for name in ("b", "c")]
    held = [(who, await permits.ask(who)) for who in busy]
    first = asking(workspace="a")
    refused_by_all = await permits.ask(first)
    for who, permit in held:
        assert isinstance(permit, Permit)
        await permits.conclude(who, permit, outcome=RELEASED, pause=None)
    beside_it = await permits.ask(asking(workspace="a"))
    refused_by_its_own = await permits.ask(first)
    other = await permits.ask(asking(workspace="often"))

    assert isinstance(refused_by_all, Refused)
    assert isinstance(beside_it, Permit)
    assert isinstance(refused_by_its_own, Refused)
    assert isinstance(other, Permit)


async def test_a_long_call_is_no_sign_that_nobody_waits(redis: ArqRedis) -> None:
    """One call at a time that lasts for many intervals of the rate: then it is the turn of the one that waited."""
    permits = await proven(redis, limits(rate=20, concurrency=1))
    greedy, waiting = asking(workspace="greedy"), asking(workspace="waiting")
    permit = await permits.ask(greedy)
    assert isinstance(permit, Permit)
    for _ in range(5):
        assert isinstance(await permits.ask(waiting), Refused)
        await asyncio.sleep(0.1)  # the call
    await permits.ask(waiting)
    await permits.conclude(greedy, permit, outcome=RELEASED, pause=None)

    assert isinstance(await permits.ask(greedy), Refused)
    assert isinstance(await permits.ask(waiting), Permit)


async def test_nobody_waits_long_for_a_caller_that_is_late(redis: ArqRedis) -> None:
    """The first in the queue does not come; the second has its permit a little after the first's time."""
    permits = await proven(redis, limits(rate=2))
    _, absent = [await permits.ask(asking()) for _ in range(2)]
    asked_at = time.monotonic()
    waited = await take(permits, asking()) - asked_at

    assert isinstance(absent, Refused)
    assert absent.delay.total_seconds() < waited < 1.1


async def test_a_caller_is_told_to_come_a_little_early(redis: ArqRedis) -> None:
    """By the tolerance of the rate: so its lateness is not lost at every call."""
    permits = await proven(redis, limits(rate=8))
    await take(permits, asking())
    refused = await permits.ask(asking())

    assert isinstance(refused, Refused)
    assert refused.delay < timedelta(milliseconds=125 - 31 + 5)


async def test_places_that_nobody_takes_up_do_not_stop_the_rest(redis: ArqRedis) -> None:
    """A hundred callers that ask once and never come back do not make one that does wait for their turns."""
    permits = await proven(redis, limits(rate=10))
    for _ in range(100):
        await permits.ask(asking())
    started = time.monotonic()
    got_at = await take(permits, asking())

    assert got_at - started < 6.0


async def test_a_workspace_waits_for_its_own_limit_alone(redis: ArqRedis) -> None:
    """A workspace at its limit is told so, and another gets its permit at once."""
    permits = await proven(redis, limits(workspace_rate=1))
    await take(permits, asking(workspace="a"))
    refused = await permits.ask(asking(workspace="a"))
    other = await permits.ask(asking(workspace="b"))

    assert isinstance(refused, Refused)
    assert refused.reason is WaitReason.WORKSPACE_RATE
    assert timedelta(milliseconds=500) < refused.delay <= timedelta(seconds=1)
    assert isinstance(other, Permit)


async def test_no_more_permits_at_once_than_allowed(redis: ArqRedis) -> None:
    """Beyond the limit callers wait until a permit is handed back, or its life is over."""
    permits = await proven(redis, limits(concurrency=2, life=0.5))
    first, _second = [await permits.ask(asking()) for _ in range(2)]
    waiting = asking()
    third = await permits.ask(waiting)
    assert isinstance(first, Permit)
    await permits.conclude(asking(), first, outcome=None, pause=None)
    after_one_came_back = await permits.ask(waiting)
    got_at = time.monotonic()
    waited = await take(permits, asking()) - got_at

    assert isinstance(third, Refused)
    assert third.reason is WaitReason.CONCURRENCY
    assert isinstance(after_one_came_back, Permit)
    assert waited < 1.0, "the permits that nobody handed back should have ended by themselves"


async def test_a_credential_that_is_not_proven_calls_one_at_a_time(redis: ArqRedis) -> None:
    """Before the vendor took a call as signed, and again after it refused one, there is one call at a time."""
    permits = Permits(redis, limits(), credential=CREDENTIAL)
    first = await permits.ask(asking())
    second = await permits.ask(asking())
    assert isinstance(first, Permit)
    await permits.conclude(asking(), first, outcome=NO, pause=None)
    at_once = [await permits.ask(asking()) for _ in range(3)]

    assert isinstance(second, Refused)
    assert all(isinstance(answer, Permit) for answer in at_once)


async def test_a_refused_credential_stops_everything_for_the_pause(redis: ArqRedis) -> None:
    """After a refused signature nothing is called until the pause is over; then one probe at a time."""
    permits = await proven(redis, limits())
    await conclude_with(permits, REFUSED_KEY, pause=timedelta(seconds=0.4))
    refused = [await permits.ask(asking(workspace=f"ws-{n}")) for n in range(3)]
    await asyncio.sleep(
        max(answer.delay.total_seconds() for answer in refused if isinstance(answer, Refused))
    )
    probe = await permits.ask(asking())
    beside_it = await permits.ask(asking())

    assert {answer.reason for answer in refused if isinstance(answer, Refused)} == {WaitReason.BREAKER_OPEN}
    assert isinstance(probe, Permit)
    assert isinstance(beside_it, Refused)


@pytest.mark.parametrize(
    ("scope", "reasons"),
    [
        (ThrottleScope.WORKSPACE, [WaitReason.WORKSPACE_RATE, None]),
        (ThrottleScope.UNKNOWN, [WaitReason.WORKSPACE_RATE, None]),
        (ThrottleScope.OPERATION, [WaitReason.RATE, WaitReason.RATE]),
    ],
)
async def test_a_throttled_scope_rests(
    redis: ArqRedis, scope: ThrottleScope, reasons: list[WaitReason | None]
) -> None:
    """A throttle stops the calls of its scope for the pause, and no others."""
    permits = await proven(redis, limits())
    throttled = Throttled(error=NO_WORDS, retry_after=None, scope=scope)
    await conclude_with(permits, throttled, pause=timedelta(seconds=5))
    answers = [await permits.ask(asking(workspace=name)) for name in ("ws", "other")]

    assert [answer.reason if isinstance(answer, Refused) else None for answer in answers] == reasons


async def test_two_workspaces_throttled_without_a_reason_stop_the_credential(redis: ArqRedis) -> None:
    """A second throttle that names nobody, from another workspace, is taken for the credential's own."""
    permits = await proven(redis, limits())
    unknown = Throttled(error=NO_WORDS, retry_after=None, scope=ThrottleScope.UNKNOWN)
    for name in ("a", "b"):
        await conclude_with(permits, unknown, pause=timedelta(seconds=5), workspace=name)
    answer = await permits.ask(asking(workspace="c"))

    assert isinstance(answer, Refused)
    assert answer.reason is WaitReason.RATE


async def test_a_pause_is_never_made_shorter(redis: ArqRedis) -> None:
    """Of two throttles in flight the one that names the later time holds."""
    permits = await proven(redis, limits())
    long, short = (
        Throttled(error=NO_WORDS, retry_after=None, scope=ThrottleScope.OPERATION) for _ in range(2)
    )
    first, second = [await permits.ask(asking()) for _ in range(2)]
    assert isinstance(first, Permit)
    assert isinstance(second, Permit)
    await permits.conclude(asking(), first, outcome=long, pause=timedelta(seconds=30))
    await permits.conclude(asking(), second, outcome=short, pause=timedelta(seconds=1))
    pause_ms = await redis.pttl("release:permits:c:create_package:pause")

    assert pause_ms > 25_000


async def test_the_first_second_after_a_throttle_has_half_the_rate(redis: ArqRedis) -> None:
    """At 20 calls/s at most 11 are made in the second after the pause; later the rate is whole again."""
    permits = await proven(redis, limits(rate=20))
    throttled = Throttled(error=NO_WORDS, retry_after=None, scope=ThrottleScope.OPERATION)
    await conclude_with(permits, throttled, pause=timedelta(seconds=0.3))
    ends_at = time.monotonic() + 0.3
    times = [
        at - ends_at
        for batch in await asyncio.gather(*(takes(permits, 4) for _ in range(10)))
        for at in batch
    ]

    assert sum(at < 1.0 for at in times) <= 11
    assert max(times) < 4.0, "the rate should be whole again later"


async def takes(permits: Permits, count: int) -> list[float]:
    who = asking()
    return [await take(permits, who) for _ in range(count)]


async def test_another_secret_has_to_prove_itself(redis: ArqRedis) -> None:
    """A wrong secret of a proven access key makes one call at a time, not many that lock the key."""
    await proven(redis, limits())
    other = Permits(redis, limits(), credential=Credential(name="c", key_digest="other"))
    answers = [await other.ask(asking()) for _ in range(3)]

    assert [isinstance(answer, Permit) for answer in answers] == [True, False, False]


async def test_a_call_from_before_a_refusal_proves_nothing(redis: ArqRedis) -> None:
    """A slow call that began before the key was refused and ends well does not let the others loose."""
    permits = await proven(redis, limits())
    slow = await permits.ask(asking())
    assert isinstance(slow, Permit)
    await conclude_with(permits, REFUSED_KEY, pause=timedelta(seconds=60))
    await redis.delete("release:permits:c:breaker")
    await permits.conclude(asking(), slow, outcome=RELEASED, pause=None)
    answers = [await permits.ask(asking()) for _ in range(2)]

    assert [isinstance(answer, Permit) for answer in answers] == [True, False]


async def test_an_answer_of_the_gateway_proves_nothing(redis: ArqRedis) -> None:
    """The gateway says 404 before it looks at the signature."""
    permits = Permits(redis, limits(), credential=CREDENTIAL)
    missing = VendorError(status=404, error_code="APIGW.0101", error_msg="no such API", request_id=None)
    await conclude_with(permits, Rejected(error=missing, may_be_an_item=False), pause=timedelta(0))
    answers = [await permits.ask(asking()) for _ in range(2)]

    assert [isinstance(answer, Permit) for answer in answers] == [True, False]


async def test_both_limits_together_are_used(redis: ArqRedis) -> None:
    """With 2 calls/s a workspace and 10 in all, ten workspaces share the 10, and no caller waits for ever."""
    permits = await proven(redis, limits(rate=10, workspace_rate=2))
    callers = [asking(workspace=f"ws-{number % 10}") for number in range(50)]
    started = time.monotonic()
    times = await asyncio.gather(*(take(permits, who, within=20) for who in callers))

    assert max(times) - started < 50 / (0.75 * 10)
    assert most_in_a_second(times) <= 12


@pytest.mark.parametrize(
    ("rate", "most"), [(0.9, 1), (1.8, 2), (3.8, 4), (4.5, 5), (4.76, 5), (5, 6), (8, 10), (20, 25)]
)
def test_the_burst_is_never_more_than_stated(rate: float, most: int) -> None:
    """In a closed second GCRA lets through at most rate + 1 + tolerance: never more than the contract's bound."""
    assert int(rate + 1 + tolerance_of(rate)) <= most


async def test_a_limiter_that_lost_its_memory_waits_a_second(redis: ArqRedis) -> None:
    """After a loss of Redis nothing is known of the last second, so it passes without a call."""
    permits = await proven(redis, limits(rate=100))
    await take(permits, asking())
    await redis.flushdb()
    refused = await permits.ask(asking())
    started = time.monotonic()
    got_at = await take(permits, asking())

    assert isinstance(refused, Refused)
    assert refused.reason is WaitReason.RATE
    assert got_at - started > 0.8


async def test_without_redis_there_is_no_permit(own_valkey: EmbeddedValkey) -> None:
    """A limiter that cannot be asked refuses by an error of ours."""
    client = open_redis(own_valkey.url, max_connections=4, retries=0)
    permits = Permits(client, limits(), credential=CREDENTIAL)
    await own_valkey.stop()

    with pytest.raises(QueueUnavailable):
        await permits.ask(asking())
    await client.aclose()


async def conclude_with(
    permits: Permits, outcome: Outcome, *, pause: timedelta, workspace: str = "ws"
) -> None:
    who = asking(workspace=workspace)
    permit = await permits.ask(who)
    assert isinstance(permit, Permit)
    await permits.conclude(who, permit, outcome=outcome, pause=pause)


async def fail(permits: Permits, *, workspace: str = "ws", times: int = 5) -> list[Breaker]:
    """Make calls that fail; returns what that changed."""
    changes: list[Breaker] = []
    for _ in range(times):
        changes += await one_call(permits, DOUBT, workspace=workspace)
    return changes


async def one_call(permits: Permits, outcome: Outcome, *, workspace: str = "ws") -> list[Breaker]:
    who = asking(workspace=workspace)
    permit = await permits.ask(who)
    assert isinstance(permit, Permit), permit
    return await permits.conclude(who, permit, outcome=outcome, pause=None)


async def pause_over(permits: Permits, workspace: str = "ws") -> None:
    """Wait until an open breaker lets a probe through, and take that."""
    answer = await permits.ask(asking(workspace=workspace))
    assert isinstance(answer, Refused)
    assert answer.reason is WaitReason.BREAKER_OPEN
    await asyncio.sleep(answer.delay.total_seconds())


async def test_five_failures_open_a_workspace_and_no_other(redis: ArqRedis) -> None:
    """The fifth failure in a row opens the workspace's breaker; another workspace is called as before."""
    permits = await proven(redis, failing_limits(pause=30))
    first = await fail(permits, times=4)
    opened = await fail(permits, times=1)
    here, there = [await permits.ask(asking(workspace=name)) for name in ("ws", "other")]

    assert first == []
    assert [(breaker.workspace, breaker.openings, breaker.reason) for breaker in opened] == [
        ("ws", 1, BreakerReason.FAILURES)
    ]
    assert isinstance(here, Refused)
    assert here.reason is WaitReason.BREAKER_OPEN
    assert isinstance(there, Permit)


async def test_a_call_in_ten_that_fails_opens_nothing(redis: ArqRedis) -> None:
    """A vendor that fails now and then is called on: of 300 calls every tenth in doubt, no breaker opens."""
    permits = await proven(redis, failing_limits(pause=30))
    changes = [
        change
        for number in range(300)
        for change in await one_call(permits, DOUBT if number % 10 < 1 else RELEASED)
    ]

    assert changes == []


async def test_calls_that_we_gave_up_open_nothing(redis: ArqRedis) -> None:
    """A worker that is told to end at once says nothing about the vendor, however many calls it cuts off."""
    permits = await proven(redis, failing_limits(pause=30))
    given_up = InDoubt(reason="given up", error=NO_WORDS, is_cut_off=True)
    changes = [change for _ in range(20) for change in await one_call(permits, given_up)]

    assert changes == []


async def test_an_open_breaker_lets_one_probe_through_after_ever_longer_pauses(redis: ArqRedis) -> None:
    """One probe at a time; a failed one doubles the pause up to the cap, one that works closes the breaker."""
    permits = await proven(redis, failing_limits(pause=0.2, cap=0.5))
    changes = await fail(permits)
    for _ in range(3):
        await pause_over(permits)
        changes += await fail(permits, times=1)
    await pause_over(permits)
    probe = await permits.ask(asking())
    beside_it = await permits.ask(asking())
    assert isinstance(probe, Permit)
    closed = await permits.conclude(asking(), probe, outcome=RELEASED, pause=None)
    after = [await permits.ask(asking()) for _ in range(5)]

    assert isinstance(beside_it, Refused)
    assert [round(change.pause.total_seconds(), 1) for change in changes] == [0.2, 0.4, 0.5, 0.5]
    assert [change.until for change in closed] == [None]
    assert all(isinstance(answer, Permit) for answer in after)


async def test_a_probe_that_was_not_made_makes_room_for_the_next(redis: ArqRedis) -> None:
    """A permit that is handed back unused neither closes the breaker nor blocks it."""
    permits = await proven(redis, failing_limits(pause=0.1))
    await fail(permits)
    await pause_over(permits)
    unused = await permits.ask(asking())
    assert isinstance(unused, Permit)
    await permits.conclude(asking(), unused, outcome=None, pause=None)
    next_probe, beside_it = [await permits.ask(asking()) for _ in range(2)]

    assert isinstance(next_probe, Permit)
    assert isinstance(beside_it, Refused)


async def test_most_workspaces_failing_open_the_credential(redis: ArqRedis) -> None:
    """Two of three active workspaces open all; a probe that works frees the others from their own pauses."""
    permits = await proven(redis, failing_limits(pause=0.3))
    await one_call(permits, RELEASED, workspace="good")
    first = await fail(permits, workspace="a")
    second = await fail(permits, workspace="b")
    good = await permits.ask(asking(workspace="good"))
    await pause_over(permits, "b")
    closed = await one_call(permits, RELEASED, workspace="b")
    other = await permits.ask(asking(workspace="a"))

    assert [breaker.workspace for breaker in first] == ["a"]
    assert [breaker.workspace for breaker in second] == ["b", ""]
    assert isinstance(good, Refused)
    assert [(breaker.workspace, breaker.until) for breaker in closed] == [("b", None), ("", None)]
    assert isinstance(other, Permit)


async def test_a_call_that_is_found_to_have_worked_closes_the_breaker(redis: ArqRedis) -> None:
    """Answers were lost, not calls: the workspace is called again, and its failures are counted anew."""
    permits = await proven(redis, failing_limits(pause=30))
    await fail(permits)
    closed = await permits.vouch(asking(workspace="ws"))
    again = await fail(permits, times=4)

    assert [(breaker.workspace, breaker.until) for breaker in closed] == [("ws", None)]
    assert again == []


async def test_the_first_second_after_a_breaker_has_half_the_rate(redis: ArqRedis) -> None:
    """At 20 calls/s the workspace that comes back makes at most 11 in its first second, the probe included."""
    permits = await proven(redis, failing_limits(pause=0.2, rate=20))
    for _ in range(5):
        await take(permits, asking(), outcome=DOUBT)
    await pause_over(permits)
    probed_at = await take(permits, asking())
    times = [
        at - probed_at for one in await asyncio.gather(*(takes(permits, 3) for _ in range(8))) for at in one
    ]

    assert sum(at < 1.0 for at in times) <= 11


async def test_a_workspace_has_its_own_limit_of_calls_at_once(redis: ArqRedis) -> None:
    """With 2 at once a workspace, the third waits and another workspace does not; a permit back makes room."""
    permits = await proven(redis, replace(limits(), workspace_concurrency=2))
    waiting = asking()
    first, second, third = [await permits.ask(who) for who in (asking(), asking(), waiting)]
    other = await permits.ask(asking(workspace="other"))
    assert isinstance(first, Permit)
    await permits.conclude(asking(), first, outcome=RELEASED, pause=None)
    again = await permits.ask(waiting)

    assert isinstance(second, Permit)
    assert isinstance(third, Refused)
    assert third.reason is WaitReason.CONCURRENCY
    assert isinstance(other, Permit)
    assert isinstance(again, Permit)


async def retry(permits: Permits, outcome: Outcome) -> Permit | Refused:
    who = replace(asking(workspace=uuid4().hex), is_retry=True)
    answer = await permits.ask(who)
    if isinstance(answer, Permit):
        await permits.conclude(who, answer, outcome=outcome, pause=None)
    return answer


async def test_retries_that_fail_use_the_budget_up(redis: ArqRedis) -> None:
    """Ten failing retries are let through, the eleventh waits; ten first calls earn two more."""
    permits = await proven(redis, failing_limits(pause=30))
    answers = [await retry(permits, DOUBT) for _ in range(11)]
    for _ in range(11):
        await one_call(permits, RELEASED)
    more = [await retry(permits, DOUBT) for _ in range(3)]
    last = answers[-1]

    assert [isinstance(answer, Permit) for answer in answers] == [True] * 10 + [False]
    assert isinstance(last, Refused)
    assert last.reason is WaitReason.BACKOFF
    assert [isinstance(answer, Permit) for answer in more] == [True, True, False]


async def test_retries_that_work_cost_nothing(redis: ArqRedis) -> None:
    """Forty retries that are released go through one after the other."""
    permits = await proven(redis, failing_limits(pause=30))
    answers = [await retry(permits, RELEASED) for _ in range(40)]

    assert all(isinstance(answer, Permit) for answer in answers)


async def test_open_breakers_survive_the_loss_of_redis(redis: ArqRedis) -> None:
    """A limiter without memory gets them back before it gives a permit: failures and a refused key alike."""
    kept: list[Breaker] = []

    async def recall(_credential: str) -> LimiterMemory:
        return LimiterMemory(breakers=tuple(kept))

    permits = Permits(redis, failing_limits(pause=30), credential=CREDENTIAL, recall=recall)
    await proven(redis, failing_limits(pause=30))
    kept += await fail(permits)
    await redis.flushdb()
    here, there = [await permits.ask(asking(workspace=name)) for name in ("ws", "other")]
    assert isinstance(there, Permit)
    kept += await permits.conclude(
        asking(workspace="other"), there, outcome=REFUSED_KEY, pause=timedelta(seconds=60)
    )
    await redis.flushdb()
    refused = await permits.ask(asking(workspace="third"))

    assert isinstance(here, Refused)
    assert here.reason is WaitReason.BREAKER_OPEN
    assert here.delay > timedelta(seconds=5)
    assert isinstance(refused, Refused)
    assert refused.reason is WaitReason.BREAKER_OPEN


@pytest.mark.parametrize(
    ("outcome", "others_are_held"),
    [
        (Throttled(error=NO_WORDS, retry_after=None, scope=ThrottleScope.WORKSPACE), False),
        (Throttled(error=NO_WORDS, retry_after=None, scope=ThrottleScope.OPERATION), True),
        (REFUSED_KEY, True),
    ],
    ids=["workspace", "operation", "credential"],
)
async def test_what_stops_calls_holds_those_with_a_permit(
    redis: ArqRedis, outcome: Outcome, *, others_are_held: bool
) -> None:
    """A 429 or a refused credential holds every call of its scope that is not written yet, until its time is over."""
    permits = await proven(redis, limits())
    here, there = asking(workspace="here"), asking(workspace="there")
    first, second, third = await grant(permits, here), await grant(permits, here), await grant(permits, there)
    before = await is_held(permits, here, second), await is_held(permits, there, third)
    await permits.conclude(here, first, outcome=outcome, pause=timedelta(seconds=0.3))
    after = await is_held(permits, here, second), await is_held(permits, there, third)

    assert before == (False, False)
    assert after == (True, others_are_held)
    await eventually(lambda: is_free(permits, here, second))


async def grant(permits: Permits, who: Asking) -> Permit:
    permit = await permits.ask(who)
    assert isinstance(permit, Permit)
    return permit


async def is_held(permits: Permits, who: Asking, permit: Permit) -> bool:
    return await permits.ask_to_write(who, permit) is None


async def is_free(permits: Permits, who: Asking, permit: Permit) -> bool:
    return not await is_held(permits, who, permit)


@pytest.mark.parametrize(("of", "most"), [("rate", 5), ("workspace_rate", 4)])
async def test_calls_that_gather_after_their_permits_are_spaced_when_written(
    redis: ArqRedis, of: str, most: int
) -> None:
    """Eight permits of two seconds are used all at once: of 4 calls/s a second sees one more, of a workspace's none."""
    permits = await proven(redis, limits(**{of: 4}))
    who = asking()
    gathered: list[Permit] = []
    while len(gathered) < 8:
        answer = await permits.ask(who)
        if isinstance(answer, Permit):
            gathered.append(answer)
        else:
            await asyncio.sleep(answer.delay.total_seconds())
    times = await asyncio.gather(*(write(permits, who, permit) for permit in gathered))

    assert len(times) == 8
    assert most_in_a_second(times) == most


async def test_reads_wait_for_no_create(redis: ArqRedis) -> None:
    """One create is allowed before the credential is proven, and its worker may be dead: lists are read meanwhile."""
    creates = await proven(redis, limits(concurrency=1))
    await redis.delete("release:permits:c:proven:k")
    reads = Permits(redis, limits(concurrency=1), credential=CREDENTIAL, operation=READ)
    await grant(creates, asking())
    refused = await creates.ask(asking())

    assert isinstance(refused, Refused)
    assert isinstance(await reads.ask(asking()), Permit)


async def test_where_nothing_is_signed_there_is_nothing_to_prove(redis: ArqRedis) -> None:
    """Without a credential as many calls as allowed are made at once, from the first."""
    nobody = Credential(name="none", key_digest="none", has_to_prove_itself=False)
    permits = Permits(redis, limits(concurrency=3), credential=nobody)
    await permits.prepare()
    await redis.delete("release:permits:settling")
    answers = [await permits.ask(asking()) for _ in range(4)]

    assert [isinstance(answer, Permit) for answer in answers] == [True, True, True, False]


async def write(permits: Permits, who: Asking, permit: Permit) -> float:
    """Ask again and again as told until the call may be written; returns when."""
    wait: timedelta | None = timedelta(seconds=1)
    while wait:
        wait = await permits.ask_to_write(who, permit)
        await asyncio.sleep(wait.total_seconds() if wait else 0)
    assert wait is not None
    return time.monotonic()


async def test_a_workspace_that_has_just_rested_writes_at_half_the_rate(redis: ArqRedis) -> None:
    """In the second after its pause it has half the operation's rate and one more, however many permits it holds."""
    permits = await proven(redis, limits(rate=8))
    who = asking()
    throttled = Throttled(error=NO_WORDS, retry_after=None, scope=ThrottleScope.WORKSPACE)
    await permits.conclude(who, Permit(permit_id="-"), outcome=throttled, pause=timedelta(seconds=0.1))
    gathered = [str(number) for number in range(8)]
    end = time.time() * 1000 + 60_000
    await redis.zadd("release:permits:c:create_package:in_flight", dict.fromkeys(gathered, end))
    await eventually(lambda: is_free(permits, who, Permit(permit_id="0")))
    answers = [await permits.ask_to_write(who, Permit(permit_id=name)) for name in gathered[1:]]

    assert [bool(wait) for wait in answers] == [False] * 4 + [True] * 3


async def test_a_breaker_that_opens_holds_calls_with_a_permit(redis: ArqRedis) -> None:
    """Five failures open the breaker of the workspace; its probe, which has a permit of later, is not held."""
    permits = await proven(redis, failing_limits(pause=0.3))
    who, other = asking(), asking(workspace="another")
    earlier, others = await grant(permits, who), await grant(permits, other)
    for _ in range(5):
        await permits.conclude(who, await grant(permits, who), outcome=DOUBT, pause=None)
    opened = await is_held(permits, who, earlier), await is_held(permits, other, others)
    await eventually(lambda: is_free(permits, who, earlier))
    probe = await grant(permits, who)

    assert opened == (True, False)
    assert await is_held(permits, who, probe) is False
