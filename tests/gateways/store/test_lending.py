"""Batches in doubt are lent to a reconcile in portions that it can look at before the loan ends."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from service.core.batch_key import BatchKey
from service.core.ids import new_id
from service.gateways.store.database import Connection, Database, PoolSize
from service.gateways.store.reconciling import lend_doubts

LOAN = timedelta(seconds=60)
ADD_BATCH = """
WITH batch AS (
    INSERT INTO batches
    (
        id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count, state,
        epoch, not_before
    )
    VALUES ($1, $2, 'p', $3, 'u', ARRAY['a'], $4, 'quiet', 1, 'in_doubt', 1, now() - $5::interval)
    RETURNING id
)
INSERT INTO attempts (batch_id, number, epoch, outcome, finished_at) SELECT id, 1, 1, 'in_doubt', now() FROM batch
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, PoolSize(smallest=1, largest=2))
    yield database
    await database.close()


async def add_doubt(connection: Connection, workspace: str, *, due_for: int) -> None:
    key = BatchKey.of(
        project_id="p", workspace=workspace, apply_user_id="u", approver_ids=["a"], package_name=None
    )
    name = f"release-{workspace}-{due_for}"
    await connection.execute(ADD_BATCH, new_id(), key.digest, workspace, name, timedelta(seconds=due_for))


async def lend(database: Database) -> list[str]:
    """Lend what is due in two workspaces; returns the names."""
    doubts = await database.transact(
        lambda connection: lend_doubts(connection, workspaces=2, limit=100, loan=LOAN)
    )
    return sorted(doubt.package_name for doubt in doubts)


async def test_whole_workspaces_are_lent_the_longest_waiting_first(database: Database) -> None:
    """Each time a few workspaces with all of their due doubts, each doubt once within the loan."""
    async with database.connection() as connection:
        for workspace, due_for in (("a", 1), ("b", 9), ("c", 5), ("a", 2), ("b", 1), ("b", -60)):
            await add_doubt(connection, workspace, due_for=due_for)

    assert await lend(database) == ["release-b-1", "release-b-9", "release-c-5"]
    assert await lend(database) == ["release-a-1", "release-a-2"]
    assert await lend(database) == []
