"""What a change of a request or an item writes beside its row."""

from uuid import UUID

import asyncpg
import pytest

from service.flow.accept_group import accept_group
from service.gateways.store.database import Connection, Database, PoolSize
from tests.support.new_requests import a_request

HOW_MANY_IN_PLACE = """
SELECT
    sum(pg_stat_get_xact_tuples_updated(p.relid)) AS changed,
    sum(pg_stat_get_xact_tuples_hot_updated(p.relid)) AS in_place
FROM pg_partition_tree($1::text) AS p
"""
STATES = """
UPDATE release_requests SET
    state = $1::text::request_state, version = version + 1, updated_at = clock_timestamp(),
    finished_at = CASE WHEN $1::text IN ('released', 'rejected') THEN clock_timestamp() END
RETURNING rare_state
"""
IS_FREE = "SELECT is_free FROM release_items"
A_BATCH = """
INSERT INTO batches (
    id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count, state
)
SELECT
    gen_random_uuid(), batch_key, project_id, workspace, apply_user_id, approver_ids, 'name', 'quiet', 1, 'sealed'
FROM release_requests
LIMIT 1
RETURNING id
"""


async def a_batch(connection: Connection) -> UUID:
    """Make a batch that items may be in."""
    batch_id: UUID = await connection.fetchval(A_BATCH)
    return batch_id


async def test_a_request_that_is_sent_needs_no_new_entries_in_indexes(database_url: str) -> None:
    """A change of its state is written beside the row alone, and found from the entries that are there."""
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    async with database.connection() as connection, connection.transaction():
        await accept_group(connection, [a_request(str(number), key=f"key-{number}") for number in range(3)])
        await connection.execute(STATES, "releasing")
        row = await connection.fetchrow(HOW_MANY_IN_PLACE, "release_requests")
    await database.close()

    assert row is not None
    assert (row["changed"], row["in_place"]) == (3, 3)


async def test_an_item_that_is_released_needs_no_new_entries_in_indexes(database_url: str) -> None:
    """Of its two changes, into a batch and to the end, the second is written beside the row alone."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await accept_group(connection, [a_request("1", "2"), a_request("3")])
            batch = await a_batch(connection)
            await connection.execute("UPDATE release_items SET state = 'releasing', batch_id = $1", batch)
            await connection.execute("UPDATE release_items SET state = 'released'")
            row = await connection.fetchrow(HOW_MANY_IN_PLACE, "release_items")
    finally:
        await connection.close()

    assert row is not None
    assert (row["changed"], row["in_place"]) == (6, 3)


@pytest.mark.parametrize(
    ("state", "is_free"),
    [("needs_attention", False), ("released", False), ("rejected", True), ("failed", True)],
)
async def test_whether_an_item_is_free_is_kept_beside_the_state(
    database_url: str, state: str, *, is_free: bool
) -> None:
    """It comes and goes with the state, whoever writes that; only one row that is not free may hold an item."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await accept_group(connection, [a_request("1")])
            batch = await a_batch(connection)
        was = await connection.fetchval(IS_FREE)
        await connection.execute(
            "UPDATE release_items SET state = $1::text::item_state, batch_id = $2", state, batch
        )
        came = await connection.fetchval(IS_FREE)
        await connection.execute("UPDATE release_items SET state = 'waiting', batch_id = NULL")
        went = await connection.fetchval(IS_FREE)
    finally:
        await connection.close()

    assert (was, came, went) == (False, is_free, False)


@pytest.mark.parametrize(
    ("state", "rare"),
    [("releasing", None), ("released", None), ("batched", "batched"), ("rejected", "rejected")],
)
async def test_a_rare_state_is_kept_beside_the_state(database_url: str, state: str, rare: str | None) -> None:
    """It comes and goes with the state, whoever writes that; lists find the few that have one by it."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await accept_group(connection, [a_request("1")])
        came = await connection.fetchval(STATES, state)
        went = await connection.fetchval(STATES, "accepted")
    finally:
        await connection.close()

    assert (came, went) == (rare, None)
