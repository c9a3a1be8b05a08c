"""What a change of a request writes beside its row."""

import asyncpg
import pytest

from service.flow.accept_group import accept_group
from service.gateways.store.database import Database, PoolSize
from tests.support.new_requests import a_request

HOW_MANY_IN_PLACE = """
SELECT
    pg_stat_get_xact_tuples_updated('release_requests'::regclass) AS changed,
    pg_stat_get_xact_tuples_hot_updated('release_requests'::regclass) AS in_place
"""
STATES = """
UPDATE release_requests SET
    state = $1::text::request_state, version = version + 1, updated_at = clock_timestamp(),
    finished_at = CASE WHEN $1::text IN ('released', 'rejected') THEN clock_timestamp() END
RETURNING rare_state
"""


async def test_a_request_that_is_sent_needs_no_new_entries_in_indexes(database_url: str) -> None:
    """A change of its state is written beside the row alone, and found from the entries that are there."""
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    async with database.connection() as connection, connection.transaction():
        await accept_group(connection, [a_request(str(number), key=f"key-{number}") for number in range(3)])
        await connection.execute(STATES, "releasing")
        row = await connection.fetchrow(HOW_MANY_IN_PLACE)
    await database.close()

    assert row is not None
    assert (row["changed"], row["in_place"]) == (3, 3)


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
