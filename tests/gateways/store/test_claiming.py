"""Which of the waiting items of a key a batch is made of."""

import json
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service.core.batch_key import BatchKey
from service.core.ids import new_id
from service.core.place import Place
from service.core.planning import OVERTAKEN_FOR
from service.gateways.store.claiming import CLAIM_ITEMS, Lease, claim_items, claim_sealed
from service.gateways.store.database import Connection, Database, PoolSize

KEY = BatchKey.of(project_id="p", workspace="w", apply_user_id="u", approver_ids=["a"], package_name=None)
PLACE = Place(project_id="p", workspace="w")
ADD_REQUEST = """
INSERT INTO release_requests (id, caller, body_digest, project_id, workspace, apply_user_id, approver_ids, batch_key)
VALUES ($1, 'test', sha256('body'), 'p', 'w', 'u', ARRAY['a'], $2)
"""
ADD_ITEMS = """
INSERT INTO release_items (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from
)
SELECT $1, n, 'p', 'w', $3 || n, $2, $4::priority, now() - $5::interval
FROM generate_series(1, $6::integer) AS n
"""
ADD_SEALED = """
INSERT INTO batches (
    id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count, state,
    created_at
) VALUES (gen_random_uuid(), $1, 'p', 'w', 'u', ARRAY['a'], 'release', 'quiet', 1, 'sealed', now() - $2::interval)
"""
SETTLE = """
INSERT INTO workspaces (project_id, workspace, paused_at, resumed_at)
SELECT 'p', 'w', CASE WHEN $1 THEN now() END, now() - $2::interval
ON CONFLICT (project_id, workspace) DO UPDATE SET paused_at = excluded.paused_at, resumed_at = excluded.resumed_at
"""
LEASE = Lease(worker="test", duration=timedelta(seconds=30))
LONG_AGO = OVERTAKEN_FOR + timedelta(seconds=5)
A_MOMENT_AGO = timedelta(seconds=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, PoolSize(smallest=1, largest=2))
    yield database
    await database.close()


async def add_items(
    connection: Connection, name: str, *, count: int, priority: str, due_for: timedelta
) -> None:
    """Let so many items wait, due for so long, named by the name and a number from 1."""
    request_id = new_id()
    await connection.execute(ADD_REQUEST, request_id, KEY.digest)
    await connection.execute(ADD_ITEMS, request_id, KEY.digest, name, priority, due_for, count)


async def settle(connection: Connection, *, is_paused: bool, resumed_for: timedelta = A_MOMENT_AGO) -> None:
    """Pause the workspace, or have it resumed so long ago."""
    await connection.execute(SETTLE, is_paused, resumed_for)


async def claim(connection: Connection, max_items: int) -> list[str]:
    """Take what one batch would."""
    async with connection.transaction():
        claimed = await claim_items(connection, KEY.digest, place=PLACE, max_items=max_items)
        assert claimed is not None
        taken = [item.item_id for item in claimed.items]
        await connection.execute("UPDATE release_items SET state = 'expired' WHERE id = ANY($1)", taken)
    return [item.pending_item_id for item in claimed.items]


def locked_rows(plan: dict[str, Any]) -> int:
    """Return how many rows a plan has locked."""
    own = plan["Actual Rows"] if plan["Node Type"] == "LockRows" else 0
    return int(own) + sum(locked_rows(part) for part in plan.get("Plans", ()))


def named(name: str, numbers: Iterable[int]) -> set[str]:
    return {f"{name}{number}" for number in numbers}


async def test_priority_goes_first_and_then_who_came_first(database: Database) -> None:
    """While nobody has waited for long, high goes before normal before low, in the order of arrival."""
    async with database.connection() as connection:
        for priority in ("low", "normal", "high"):
            await add_items(connection, priority, count=2, priority=priority, due_for=A_MOMENT_AGO)
        taken = [await claim(connection, 3), await claim(connection, 3)]

    assert taken == [["high1", "high2", "normal1"], ["normal2", "low1", "low2"]]


async def test_half_of_a_batch_is_for_those_who_were_overtaken_for_long(database: Database) -> None:
    """What has been due for half a minute is taken oldest first, beside what is urgent."""
    async with database.connection() as connection:
        await add_items(connection, "low", count=20, priority="low", due_for=LONG_AGO)
        await add_items(connection, "older", count=2, priority="normal", due_for=2 * LONG_AGO)
        await add_items(connection, "high", count=30, priority="high", due_for=A_MOMENT_AGO)
        taken = await claim(connection, 10)

    assert set(taken) == {"older1", "older2"} | named("low", range(1, 4)) | named("high", range(1, 6))


async def test_an_urgent_item_is_in_the_next_batch_of_a_long_queue(database: Database) -> None:
    """Though a thousand have waited for long, one that is urgent need not wait for them; and no place is left empty."""
    async with database.connection() as connection:
        await add_items(connection, "old", count=1_000, priority="normal", due_for=LONG_AGO)
        await add_items(connection, "high", count=1, priority="high", due_for=A_MOMENT_AGO)
        taken = await claim(connection, 10)

    assert set(taken) == {"high1"} | named("old", range(1, 10))


async def test_a_low_item_is_taken_soon_whatever_comes_with_a_higher_priority(database: Database) -> None:
    """Once it has waited for half a minute it is in the next batch, and in one of the next where batches hold one."""
    async with database.connection() as connection:
        await add_items(connection, "high", count=200, priority="high", due_for=A_MOMENT_AGO)
        await add_items(connection, "low", count=1, priority="low", due_for=LONG_AGO)
        full = await claim(connection, 10)
        await add_items(connection, "lower", count=1, priority="low", due_for=LONG_AGO)
        # Each is a toss of a coin.
        single = [(await claim(connection, 1))[0] for _ in range(64)]

    assert "low1" in full
    assert "lower1" in single


async def test_what_another_worker_takes_is_passed_over(database: Database) -> None:
    """Two claims at once share nothing, neither of the overtaken nor of the others, and both are full."""
    async with database.connection() as connection, database.connection() as other:
        await add_items(connection, "old", count=8, priority="normal", due_for=LONG_AGO)
        await add_items(connection, "high", count=8, priority="high", due_for=A_MOMENT_AGO)
        async with connection.transaction():
            first = await claim_items(connection, KEY.digest, place=PLACE, max_items=8)
            second = await claim(other, 8)

    assert first is not None
    assert len(first.items) == len(second) == 8
    assert not {item.pending_item_id for item in first.items} & set(second)


async def test_a_claim_reads_indexes_only_as_far_as_it_takes(database_url: str) -> None:
    """With twenty thousand waiting items of a key a claim reads hundreds of pages at most."""
    connection = await asyncpg.connect(database_url)
    try:
        await add_items(connection, "old", count=10_000, priority="normal", due_for=LONG_AGO)
        await add_items(connection, "new", count=10_000, priority="normal", due_for=A_MOMENT_AGO)
        await connection.execute("ANALYZE release_items")
        explained = await connection.fetchval(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + CLAIM_ITEMS,
            KEY.digest,
            100,
            50,
            OVERTAKEN_FOR,
            "p",
            "w",
        )
    finally:
        await connection.close()
    (plan,) = json.loads(explained)

    assert locked_rows(plan["Plan"]) == 100
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 1_000


async def test_nothing_of_a_paused_workspace_is_claimed(database: Database) -> None:
    """Neither waiting items nor a batch that is to be sent again; and both once the pause is over."""

    async def claims(connection: Connection) -> tuple[bool, bool]:
        async with connection.transaction():
            items = await claim_items(connection, KEY.digest, place=PLACE, max_items=10)
            return items is not None, await claim_sealed(connection, KEY.digest, lease=LEASE) is not None

    async with database.connection() as connection:
        await add_items(connection, "1", count=1, priority="normal", due_for=A_MOMENT_AGO)
        await connection.execute(ADD_SEALED, KEY.digest, A_MOMENT_AGO)
        await settle(connection, is_paused=True)
        paused = await claims(connection)
        await settle(connection, is_paused=False)
        resumed = await claims(connection)

    assert (paused, resumed) == ((False, False), (True, True))


async def test_a_batch_does_not_age_while_its_workspace_is_paused(database: Database) -> None:
    """A batch of a workspace that was resumed ages from then on, so that a long pause is not held against it."""
    async with database.connection() as connection:
        await connection.execute(ADD_SEALED, KEY.digest, timedelta(days=3))
        await settle(connection, is_paused=False, resumed_for=timedelta(hours=1))
        batch = await claim_sealed(connection, KEY.digest, lease=LEASE)

    assert batch is not None
    assert timedelta(minutes=59) < batch.age < timedelta(minutes=61)
