"""The migrations on a database with rows: of the last schema whose requests lay in one table."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from service.core.ids import new_id
from service.flow.accept_group import Accepted, ItemConflict, Replayed, accept_group
from service.flow.prune import prune_once
from service.gateways.migrate import migrate
from service.gateways.migration_files import migrations_directory
from service.gateways.store.accepting import NewRequest
from service.gateways.store.database import Connection, Database, PoolSize
from tests.support.new_requests import a_request
from tests.support.sql import fetch_value

LAST_OF_ONE_TABLE = "0026"
REQUEST = """
INSERT INTO release_requests (
    id, caller, idempotency_key, body_digest, project_id, workspace, apply_user_id, approver_ids, batch_key, item_count,
    state, finished_at
)
VALUES (
    $1, 'c', $2, $3, 'p', 'w', 'ann', '{bob}', $4, 1, $5::text::request_state,
    CASE $5 WHEN 'cancelled' THEN now() END
)
"""
ITEM = """
INSERT INTO release_items (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, state
)
VALUES ($1, 0, 'p', 'w', $2, $3, 'normal', now(), $4::text::item_state)
RETURNING id
"""
EVENT = (
    "INSERT INTO request_events (request_id, seq, type, state) VALUES ($1, 1, 'request.accepted', 'accepted')"
)
HOLDERS = "SELECT pending_item_id, request_id FROM item_holders ORDER BY pending_item_id"
WAITS, IS_OVER = a_request("1", key="k"), a_request("2")


async def migrate_to(url: str, directory: Path, last: str) -> None:
    """Apply the migrations up to one."""
    for path in migrations_directory().glob("*.sql"):
        if path.name < f"{last}~":
            shutil.copy(path, directory)
    await migrate(url, directory=directory)


async def add(url: str, given: NewRequest, state: str, item_state: str) -> None:
    """Write a request of one item as earlier code does."""
    connection = await asyncpg.connect(url)
    try:
        key = given.submission.key.digest
        await connection.execute(REQUEST, given.request_id, given.idempotency_key, given.digest, key, state)
        (item,) = given.submission.pending_item_ids
        await connection.fetchval(ITEM, given.request_id, item, key, item_state)
        await connection.execute(EVENT, given.request_id)
    finally:
        await connection.close()


@pytest.fixture
async def old_url(empty_database_url: str, tmp_path: Path) -> str:
    """The address of a database with the schema before periods, where one request waits and one was cancelled."""
    await migrate_to(empty_database_url, tmp_path, LAST_OF_ONE_TABLE)
    await add(empty_database_url, WAITS, "accepted", "waiting")
    await add(empty_database_url, IS_OVER, "cancelled", "cancelled")
    return empty_database_url


@pytest.fixture
async def database(old_url: str) -> AsyncIterator[Database]:
    await migrate(old_url)
    database = await Database.open(old_url, PoolSize(smallest=1, largest=2))
    yield database
    await database.close()


async def test_what_was_there_is_held_and_found(database: Database) -> None:
    """Nothing is lost; a key, an item and what was given up mean the same as before."""

    async def ask(connection: Connection) -> list[object]:
        again = a_request("1", key="k")
        other = a_request("1", applicant="eve")
        fresh = a_request("2")
        return [(await accept_group(connection, [given]))[0] for given in (again, other, fresh)]

    replayed, conflict, accepted = await database.transact(ask)
    async with database.connection() as connection:
        counts = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM release_requests), (SELECT count(*) FROM release_items),"
            " (SELECT count(*) FROM request_events), (SELECT count(DISTINCT id) FROM release_items)"
        )
        holders = await connection.fetch(HOLDERS)

    assert replayed == Replayed(request_id=WAITS.request_id)
    assert conflict == ItemConflict(pending_item_id="1", request_id=WAITS.request_id)
    assert isinstance(accepted, Accepted)
    assert tuple(counts or ()) == (3, 3, 3, 3)
    assert [tuple(row) for row in holders] == [("1", WAITS.request_id), ("2", accepted.request.request_id)]


async def test_what_was_there_is_pruned_row_by_row(database: Database) -> None:
    """It lies in one partition with all that is older, which is too long to wait for."""
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT array_agg(name) FROM request_periods") == ["first"]
        await connection.execute(
            "UPDATE release_requests SET finished_at = now() - interval '40 days' WHERE id = $1",
            IS_OVER.request_id,
        )
    pruned = await prune_once(database, timedelta(milliseconds=1))

    assert pruned == 1


async def test_what_came_in_between_the_migrations_is_there(empty_database_url: str, tmp_path: Path) -> None:
    """Also where nothing was there before: the tables that were empty are not dropped."""
    await migrate_to(empty_database_url, tmp_path, "0030")
    await add(empty_database_url, WAITS, "accepted", "waiting")
    await migrate(empty_database_url)

    assert await fetch_value(empty_database_url, "SELECT id FROM release_requests") == WAITS.request_id
    assert await fetch_value(empty_database_url, "SELECT request_id FROM item_holders") == WAITS.request_id
    assert (
        await fetch_value(empty_database_url, "SELECT request_id FROM idempotency_keys") == WAITS.request_id
    )


async def test_a_key_and_an_item_that_were_taken_anew_between_the_migrations_are_held(
    old_url: str, tmp_path: Path
) -> None:
    """By the request that has them at the end."""
    await migrate_to(old_url, tmp_path, "0028")
    await fetch_value(old_url, "DELETE FROM release_requests WHERE id = $1", WAITS.request_id)
    anew = a_request("1", key="k")
    await add(old_url, anew, "accepted", "waiting")
    await migrate(old_url)

    assert await fetch_value(old_url, "SELECT request_id FROM item_holders") == anew.request_id
    assert await fetch_value(old_url, "SELECT request_id FROM idempotency_keys") == anew.request_id


async def test_an_id_of_a_clock_that_was_ahead_is_no_hindrance(old_url: str) -> None:
    """The first period goes up to it."""
    ahead = replace(a_request("3"), request_id=new_id(now_ms=4_000_000_000_000))
    await add(old_url, ahead, "accepted", "waiting")
    await migrate(old_url)

    assert await fetch_value(old_url, "SELECT count(*) FROM release_requests_first") == 3
