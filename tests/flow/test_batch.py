"""A claim of a batch and the lines that tell of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from service.core.errors import DatabaseUnavailable
from service.core.model import ClosedBy, WaitReason
from service.deps import WorkerDeps
from service.flow.accept_group import accept_group
from service.flow.batch import Due, answer_doorbell, claim_batch
from service.flow.next_look import Answer, ring_after
from service.gateways.doorbells import BELLS_PER_KEY, Bell, bell_id
from service.gateways.limits import Asking
from service.gateways.queue import DOORBELL_QUEUE, now_ms
from service.gateways.store import lanes
from service.worker import look_again
from tests.support.logs import caught_log
from tests.support.new_requests import a_request
from tests.support.worker_deps import worker_deps

#: Has each claim fail at its commit, as one that collides with another does.
REFUSE_COMMITS = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = 'serialization_failure'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON batches DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION refuse();
"""
TAKE_COMMITS = "DROP TRIGGER refuse ON batches; DROP FUNCTION refuse"
#: As a call leaves it that was certainly not made.
PUT_BACK = """
WITH over AS (UPDATE attempts SET outcome = 'not_sent', finished_at = now())
UPDATE batches SET state = 'sealed', worker = NULL, lease_expires_at = NULL
"""

PAUSE = "INSERT INTO workspaces (project_id, workspace, paused_at) VALUES ('p', 'w', now())"


@asynccontextmanager
async def no_commit_working(database_url: str) -> AsyncIterator[None]:
    """Let no claim be committed while the block runs."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(REFUSE_COMMITS)
        yield
        await connection.execute(TAKE_COMMITS)
    finally:
        await connection.close()


async def accepted(deps: WorkerDeps) -> Asking:
    """Accept a request of one item; returns whose batch may be claimed."""
    request = a_request("1")
    await deps.database.transact(lambda connection: accept_group(connection, [request]))
    return Asking(batch_key=request.submission.key.digest, project_id="p", workspace="w")


async def events_of_a_claim(deps: WorkerDeps, due: Due, database_url: str) -> list[str]:
    """Claim in vain, then for good; returns what the log says of it."""
    with caught_log() as lines:
        async with no_commit_working(database_url):
            with pytest.raises(DatabaseUnavailable):
                await claim_batch(deps, due)
        assert await claim_batch(deps, due) is not None
    return [json.loads(line)["event"] for line in lines.getvalue().splitlines()]


async def test_only_what_is_committed_is_told(database_url: str, redis_url: str) -> None:
    """A seal or a claim that was rolled back leaves no line; one that was committed leaves one."""
    async with worker_deps(database_url, redis_url) as deps:
        asking = await accepted(deps)
        sealing = await events_of_a_claim(deps, Due(asking=asking, closed_by=ClosedBy.QUIET), database_url)
        async with deps.database.connection() as connection:
            await connection.execute(PUT_BACK)
        claiming = await events_of_a_claim(deps, Due(asking=asking, closed_by=None), database_url)

    assert [event for event in sealing if event.startswith("batch.")] == ["batch.sealed"]
    assert [event for event in claiming if event.startswith("batch.")] == ["batch.claimed"]


@pytest.mark.parametrize("has_called", [True, False])
async def test_a_key_takes_the_place_that_its_own_call_has_left(
    database_url: str, redis_url: str, *, has_called: bool
) -> None:
    """Its doorbell sounds at once, though it was to wait for a place; where no call was made it waits."""
    async with worker_deps(database_url, redis_url, RELEASE_BATCH_QUIET_SECONDS="0") as deps:
        key = (await accepted(deps)).batch_key
        await deps.doorbells.ring(key, delay=timedelta(seconds=60))
        async with deps.database.connection() as connection:
            await lanes.hold(connection, key, reason=WaitReason.CONCURRENCY, delay=timedelta(seconds=60))
        ring = await ring_after(deps, key, Answer(has_called=has_called))
        assert ring is not None
        await deps.doorbells.ring_all([ring])
        sounds_at = await deps.redis.zscore(DOORBELL_QUEUE, bell_id(key, 0))
        now = now_ms()

    assert sounds_at is not None
    assert (sounds_at <= now) is has_called


@pytest.mark.parametrize("number", [0, BELLS_PER_KEY - 1])
async def test_after_the_last_doorbell_of_a_key_there_is_a_look_whatever_its_settlement_saw(
    database_url: str, redis_url: str, number: int
) -> None:
    """While all are being answered nobody could ring for what came; of the others there was one left to ring."""
    async with worker_deps(database_url, redis_url) as deps:
        key = (await accepted(deps)).batch_key
        answer = Answer(has_called=True, has_more=False)
        bell = Bell.of(bell_id(key, number))
        assert bell is not None
        await look_again(deps, bell, answer, lambda ring: deps.doorbells.end(bell, ring))
        bells = await deps.redis.zcard(DOORBELL_QUEUE)

    assert bool(bells) is (number == BELLS_PER_KEY - 1)


async def test_what_is_paused_asks_for_no_permit_and_rings_no_bell(database_url: str, redis_url: str) -> None:
    """A look at a key of a paused workspace leaves nothing in the limiter and no doorbell, however much is due."""
    async with worker_deps(database_url, redis_url, RELEASE_BATCH_QUIET_SECONDS="0") as deps:
        asking = await accepted(deps)
        async with deps.database.connection() as connection:
            await connection.execute(PAUSE)
        answer = await answer_doorbell(deps, asking.batch_key)
        ring = await ring_after(deps, asking.batch_key, answer)
        asked = await deps.redis.keys("release:permits:none:create_package*")

    assert (answer.has_called, asked, ring) == (False, [], None)
