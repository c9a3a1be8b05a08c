"""A refused batch is lent to one worker at a time, and ended by the one it was lent to last."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from service.core.ids import new_id
from service.core.model import BatchState
from service.gateways.store.database import Database, PoolSize
from service.gateways.store.splitting import Refusal, end_refused, lend_refusal

KEY = UUID(int=1)
ADD_REFUSED = """
WITH batch AS (
    INSERT INTO batches
    (
        id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count, state,
        not_before, wait_reason
    )
    VALUES ($1, $2, 'p', 'w', 'u', ARRAY['a'], 'n', 'quiet', 2, 'refused', now(), 'reconciling')
    RETURNING id
)
INSERT INTO attempts (batch_id, number, epoch, outcome, finished_at) SELECT id, 1, 1, 'rejected', now() FROM batch
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, PoolSize(smallest=1, largest=2))
    async with database.connection() as connection:
        await connection.execute(ADD_REFUSED, new_id(), KEY)
    yield database
    await database.close()


async def lend(database: Database, loan: timedelta) -> Refusal | None:
    return await database.transact(lambda connection: lend_refusal(connection, KEY, loan=loan))


async def end(database: Database, refusal: Refusal) -> bool:
    return await database.transact(
        lambda connection: end_refused(connection, refusal, state=BatchState.SPLIT, evidence={})
    )


async def test_a_refused_batch_is_lent_once_at_a_time(database: Database) -> None:
    """As long as the loan lasts nobody else looks into it."""
    assert await lend(database, timedelta(seconds=60)) is not None
    assert await lend(database, timedelta(seconds=60)) is None


async def test_a_batch_is_parted_once(database: Database) -> None:
    """Whose loan has ended writes nothing, neither before the next one has parted the batch nor after."""
    late, last = await lend(database, timedelta(0)), await lend(database, timedelta(0))
    assert late is not None
    assert last is not None

    assert await end(database, late) is False
    assert await end(database, last) is True
    assert await end(database, last) is False
