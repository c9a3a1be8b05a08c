"""When to look next at a batch key."""

from datetime import timedelta

import pytest

from service.flow.accept_group import accept_group
from service.flow.next_look import Answer, look_at, ring_after, ring_for_the_rest
from service.gateways.doorbells import Ring
from tests.support.new_requests import a_request
from tests.support.worker_deps import worker_deps

QUIET = timedelta(seconds=60)
WINDOW = {
    "RELEASE_BATCH_MAX_ITEMS": "2",
    "RELEASE_BATCH_QUIET_SECONDS": "60",
    "RELEASE_BATCH_LINGER_SECONDS": "90",
}


async def rings_of(database_url: str, redis_url: str, *, items: int) -> tuple[Ring | None, Ring | None]:
    """Accept so many items; returns the ring for what a full batch leaves of them, and the one for all of them."""
    async with worker_deps(database_url, redis_url, **WINDOW) as deps:
        request = a_request(*(str(number) for number in range(items)))
        await deps.database.transact(lambda connection: accept_group(connection, [request]))
        key = request.submission.key.digest
        lane = await look_at(deps, key)
        return ring_for_the_rest(lane, key, deps), await ring_after(deps, key, Answer(lane=lane))


@pytest.mark.parametrize("items", [4, 9])
async def test_the_next_full_batch_is_looked_at_at_once(
    database_url: str, redis_url: str, items: int
) -> None:
    """It does not wait until the call of the one before it has ended."""
    rest, _ = await rings_of(database_url, redis_url, items=items)

    assert rest is not None
    assert rest.delay <= timedelta(0)


async def test_what_a_full_batch_leaves_is_looked_at_when_its_window_closes(
    database_url: str, redis_url: str
) -> None:
    """Less than a batch waits for more, as it would alone."""
    rest, _ = await rings_of(database_url, redis_url, items=3)

    assert rest is not None
    assert QUIET / 2 < rest.delay <= QUIET


async def test_a_full_batch_that_leaves_nothing_rings_for_nothing(database_url: str, redis_url: str) -> None:
    """What comes later has a doorbell of its own."""
    rest, _ = await rings_of(database_url, redis_url, items=2)

    assert rest is None


async def test_an_open_window_may_be_put_off_for_a_moment_only(database_url: str, redis_url: str) -> None:
    """Newcomers prolong it, but it may have become shorter, which only a look can tell."""
    _, after = await rings_of(database_url, redis_url, items=1)

    assert after is not None
    assert after.latest is not None
    assert after.latest <= timedelta(seconds=0.5)
