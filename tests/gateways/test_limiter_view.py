"""A look at the limiter tells what is used and what is left, on a real Valkey, and changes nothing there."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
from arq.connections import ArqRedis

from service.core.errors import QueueUnavailable
from service.core.outcomes import Released, Throttled, ThrottleScope, VendorError
from service.gateways.limiter_view import LimiterStanding, LimiterView
from service.gateways.limits import Asking, Credential, Limits
from service.gateways.permits import Permit, Permits
from service.gateways.queue import open_redis
from tests.support.waiting import eventually

CREDENTIAL = Credential(name="c", key_digest="k")
LIMITS = Limits(rate=4, workspace_rate=0, concurrency=3, permit_life=timedelta(seconds=30))
ASKING = Asking(batch_key=uuid4(), project_id="p", workspace="w")


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    client = open_redis(redis_url, max_connections=8, retries=0)
    yield client
    await client.aclose()


async def take(permits: Permits) -> Permit:
    """Take a permit as soon as there is one."""

    async def asked() -> Permit | None:
        answer = await permits.ask(ASKING)
        return answer if isinstance(answer, Permit) else None

    permit = await eventually(asked)
    assert permit is not None
    return permit


async def test_what_is_used_is_seen_and_what_is_left(redis: ArqRedis) -> None:
    """A call under way and one that was written count; afterwards nothing does, and the credential is proven."""
    permits, view = (
        Permits(redis, LIMITS, credential=CREDENTIAL),
        LimiterView(redis, LIMITS, credential=CREDENTIAL),
    )
    fresh = await view.look()
    permit = await take(permits)
    await permits.ask_to_write(ASKING, permit)
    busy = await view.look()
    await permits.conclude(
        ASKING, permit, outcome=Released(release_package_id="1", request_id=None), pause=None
    )
    after = await view.look()

    assert (fresh.written, fresh.under_way, fresh.is_proven, fresh.most_at_once, fresh.left) == (
        0,
        0,
        False,
        1,
        4,
    )
    assert (busy.written, busy.under_way, busy.left) == (1, 1, 0)
    assert (after.under_way, after.is_proven, after.most_at_once) == (0, True, 3)

    async def is_free() -> bool:
        return (await view.look()).left == 4

    await eventually(is_free)


async def test_a_throttle_leaves_nothing_and_says_for_how_long(redis: ArqRedis) -> None:
    """The credential's own; one of a single workspace leaves the others what they have."""
    permits, view = (
        Permits(redis, LIMITS, credential=CREDENTIAL),
        LimiterView(redis, LIMITS, credential=CREDENTIAL),
    )
    error = VendorError(status=429, error_code="APIGW.0308", error_msg=None, request_id=None)
    for scope, is_held in ((ThrottleScope.WORKSPACE, False), (ThrottleScope.OPERATION, True)):
        asking_for = await take(permits)
        outcome = Throttled(error=error, scope=scope, retry_after=None)
        await permits.conclude(ASKING, asking_for, outcome=outcome, pause=timedelta(seconds=2))
        standing = await view.look()

        assert (standing.throttled_for is not None) is is_held
        assert (standing.left == 0) is is_held
    assert standing.throttled_for is not None
    assert timedelta(seconds=1) < standing.throttled_for <= timedelta(seconds=2)


async def test_looking_changes_nothing(redis: ArqRedis) -> None:
    """Not a key comes, goes or gets another time."""
    await take(Permits(redis, LIMITS, credential=CREDENTIAL))
    before = {key: await redis.dump(key) for key in await redis.keys()}
    await LimiterView(redis, LIMITS, credential=CREDENTIAL).look()

    assert {key: await redis.dump(key) for key in await redis.keys()} == before


async def test_a_strangers_key_is_no_look(redis: ArqRedis) -> None:
    """It is said that there is no answer, and the page does without."""
    view = LimiterView(redis, LIMITS, credential=CREDENTIAL)
    await redis.set("release:permits:c:create_package:writes", "x")

    with pytest.raises(QueueUnavailable):
        await view.look()


@pytest.mark.parametrize(
    ("rate", "written", "is_slow", "left"),
    [
        (0, 7, False, None),
        (8, 3, False, 5),
        (8, 9, False, 0),
        (8, 0, True, 4),
        (0.2, 0, False, 1),
        (0.2, 1, False, 0),
    ],
)
def test_what_is_left_is_the_rest_of_the_rate(
    rate: float, written: int, is_slow: bool, left: int | None
) -> None:
    """Half of it after a pause; none without a rate; a slow rate has one at least."""
    standing = LimiterStanding(
        rate=rate,
        written=written,
        concurrency=3,
        under_way=0,
        throttled_for=None,
        is_slow=is_slow,
        is_proven=True,
    )

    assert standing.left == left
