"""The check that ends every scenario does find what it is there for."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.emulator import UNLIMITED
from tests.support.invariants import check_invariants
from tests.support.stack import Stack, body, running_stack

SPOILED = {
    "I1": "UPDATE release_requests SET state = 'releasing', finished_at = NULL",
    "I3": "UPDATE batches SET release_package_id = 'other'",
    "I4": "UPDATE batches SET state = 'rejected', release_package_id = NULL",
    "I5": "INSERT INTO request_events (request_id, seq, type, state) SELECT id, 9, 'x', state FROM release_requests",
    "I6": "UPDATE attempts SET outcome = NULL, finished_at = NULL",
}


@pytest.fixture
async def stack(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """One HTTP process and one worker, whose rows may be wrong when the test is through."""
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await stack.start_api()
        await stack.start_worker()
        yield stack


async def released(stack: Stack) -> str:
    request_id: str = (await stack.submit(body("1", "2")))["id"]
    await stack.wait_for(request_id, "released")
    return request_id


async def test_a_good_run_passes(stack: Stack) -> None:
    """After releases on a good day, one of them attached to another, every invariant holds."""
    ids = await stack.submit_all([body(str(n // 2)) for n in range(20)])
    await check_invariants(stack, ids)


@pytest.mark.parametrize("invariant", sorted(SPOILED))
async def test_a_row_that_is_wrong_is_found(stack: Stack, invariant: str) -> None:
    """One wrong row in Postgres is enough."""
    request_id = await released(stack)
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute(SPOILED[invariant])
    await connection.close()

    with pytest.raises(AssertionError):
        await check_invariants(stack, [request_id], within=1.0)
