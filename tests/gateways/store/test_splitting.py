"""A refused batch is lent to one worker at a time, and ended by the one it was lent to last."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from service.core.ids import new_id
from service.core.model import BatchState
from service.gateways.store.claiming import Lease, claim_sealed
from service.gateways.store.database import Connection, Database, PoolSize
from service.gateways.store.leases import extend_loans
from service.gateways.store.splitting import Refusal, end_refused, lend_refusal, put_off_refusal

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
ADD_PARTED = """
WITH batch AS (
    INSERT INTO batches
    (
        id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count, state,
        parent_id, finished_at
    )
    VALUES ($1, $2, 'p', 'w', 'u', ARRAY['a'], 'n', 'quiet', 4, 'split', $3, now())
    RETURNING id
)
INSERT INTO attempts (batch_id, number, epoch, outcome, finished_at) SELECT id, 1, 1, $4, now() FROM batch
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


async def extend(database: Database, refusal: Refusal) -> None:
    async with database.connection() as connection:
        await extend_loans(connection, {refusal.batch_id: refusal.epoch}, loan=timedelta(seconds=60))


async def test_a_loan_is_extended_while_it_lasts(database: Database) -> None:
    """A look that goes on keeps the batch for itself."""
    refusal = await lend(database, timedelta(0))
    assert refusal is not None
    await extend(database, refusal)

    assert await lend(database, timedelta(0)) is None


async def test_a_late_beat_keeps_nobody_from_a_batch_that_was_put_off(database: Database) -> None:
    """A look that ended has ended its loan: a beat that comes after it changes nothing."""
    refusal = await lend(database, timedelta(seconds=60))
    assert refusal is not None
    async with database.connection() as connection:
        await put_off_refusal(connection, refusal, delay=timedelta(0))
    await extend(database, refusal)

    assert await lend(database, timedelta(0)) is not None


async def test_a_batch_is_parted_once(database: Database) -> None:
    """Whose loan has ended writes nothing, neither before the next one has parted the batch nor after."""
    late, last = await lend(database, timedelta(0)), await lend(database, timedelta(0))
    assert late is not None
    assert last is not None

    assert await end(database, late) is False
    assert await end(database, last) is True
    assert await end(database, last) is False


async def add_grandparent(connection: Connection, outcome: str) -> None:
    """Make the refused batch a part of a part of a batch whose call had that outcome."""
    first, second = new_id(), new_id()
    await connection.executemany(ADD_PARTED, [(first, KEY, None, outcome), (second, KEY, first, "rejected")])
    await connection.execute("UPDATE batches SET parent_id = $1 WHERE state = 'refused'", second)


@pytest.mark.parametrize(("outcome", "was_in_doubt"), [("in_doubt", True), ("rejected", False)])
async def test_a_refused_part_has_the_doubts_that_it_comes_from(
    database: Database, outcome: str, *, was_in_doubt: bool
) -> None:
    """A part of a part of a batch whose call was in doubt is lent with that doubt; else without."""
    async with database.connection() as connection:
        await add_grandparent(connection, outcome)
    refusal = await lend(database, timedelta(seconds=60))

    assert refusal is not None
    assert refusal.was_in_doubt is was_in_doubt


@pytest.mark.parametrize(
    ("outcome", "items", "was_in_doubt"),
    [("in_doubt", 1, True), ("in_doubt", 2, False), ("rejected", 1, False)],
)
async def test_a_part_of_one_item_is_claimed_with_the_doubts_that_it_comes_from(
    database: Database, outcome: str, items: int, *, was_in_doubt: bool
) -> None:
    """Its end would be final; a larger part is only parted further."""
    async with database.connection() as connection:
        await add_grandparent(connection, outcome)
        await connection.execute(
            "UPDATE batches SET state = 'sealed', item_count = $1 WHERE state = 'refused'", items
        )
    lease = Lease(worker="w", duration=timedelta(seconds=60))
    batch = await database.transact(lambda connection: claim_sealed(connection, KEY, lease=lease))

    assert batch is not None
    assert batch.was_in_doubt is was_in_doubt
