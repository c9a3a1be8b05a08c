"""What is settled for workspaces, and who goes by it: the sweep, the audit, the list."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.core.auditing import Patience
from service.core.config import Settings
from service.core.ids import new_id
from service.core.place import Place
from service.core.workspaces import OwnSettings
from service.gateways.store.audit_waiting import find_overdue
from service.gateways.store.database import Connection, Database, PoolSize
from service.gateways.store.lanes import overdue_keys
from service.gateways.store.workspace_reading import describe_workspaces, list_places
from service.gateways.store.workspaces import keys_with_work, lock_workspace

ADD_REQUEST = """
INSERT INTO release_requests (id, caller, body_digest, project_id, workspace, apply_user_id, approver_ids, batch_key)
VALUES ($1, 'test', sha256('body'), 'p', $2, 'u', ARRAY['a'], $3)
"""
ADD_ITEM = """
INSERT INTO release_items (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from
) VALUES ($1, 0, 'p', $2, $3, $4, 'normal', now() - $5::interval)
"""
ADD_BATCH = """
INSERT INTO batches (
    id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count, state,
    created_at, updated_at, not_before
)
VALUES (
    gen_random_uuid(), $1, 'p', $2, 'u', ARRAY['a'], 'release', 'quiet', 1, $3::batch_state, now() - $4::interval,
    now() - $4::interval, now() - $4::interval
)
"""
SETTLE = """
INSERT INTO workspaces (project_id, workspace, paused_at, linger, changed_at)
VALUES ('p', $1, CASE WHEN $2 THEN now() END, $3, now() - $4::interval)
ON CONFLICT (project_id, workspace) DO UPDATE SET
    paused_at = excluded.paused_at, linger = excluded.linger, changed_at = excluded.changed_at
"""
DAY = timedelta(days=1)
PATIENCE = Patience.of(Settings.from_env({}))
EVERYTHING = ["%"]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, PoolSize(smallest=1, largest=2))
    yield database
    await database.close()


async def add_item(
    connection: Connection, workspace: str, *, due_for: timedelta = DAY, key: UUID | None = None
) -> UUID:
    """Let an item wait that has been due for so long; returns its batch key."""
    request_id, batch_key = new_id(), key or uuid4()
    await connection.execute(ADD_REQUEST, request_id, workspace, batch_key)
    await connection.execute(ADD_ITEM, request_id, workspace, str(request_id), batch_key, due_for)
    return batch_key


async def add_batch(connection: Connection, workspace: str, state: str) -> UUID:
    """Let a batch wait that has been due for a day; returns its batch key."""
    batch_key = uuid4()
    await connection.execute(ADD_BATCH, batch_key, workspace, state, DAY)
    return batch_key


async def settle(
    connection: Connection,
    workspace: str,
    *,
    is_paused: bool = False,
    linger: timedelta | None = None,
    ago: timedelta = DAY,
) -> None:
    """Settle something for a workspace, so long ago."""
    await connection.execute(SETTLE, workspace, is_paused, linger, ago)


async def overdue(connection: Connection) -> set[UUID]:
    second = timedelta(seconds=1)
    return set(
        await overdue_keys(connection, items_for=second, batches_for=second, linger=second * 2, limit=100)
    )


async def forgotten(connection: Connection) -> int:
    """Count what the audit calls forgotten."""
    return (await find_overdue(connection, PATIENCE)).count


async def test_the_sweep_leaves_what_is_paused_alone(database: Database) -> None:
    """It rings for no item and no sealed batch of a paused workspace, but for its refused batches and all others."""
    async with database.connection() as connection:
        other = await add_item(connection, "other")
        items = await add_item(connection, "paused")
        sealed = await add_batch(connection, "paused", "sealed")
        refused = await add_batch(connection, "paused", "refused")
        await settle(connection, "paused", is_paused=True)
        while_paused = await overdue(connection)
        await settle(connection, "paused")
        afterwards = await overdue(connection)

    assert while_paused == {other, refused}
    assert afterwards == {other, refused, items, sealed}


async def test_the_sweep_knows_the_linger_time_of_a_workspace(database: Database) -> None:
    """A window that is open for longer than others is not overdue, and one that was shortened is."""
    async with database.connection() as connection:
        patient = await add_item(connection, "patient", due_for=timedelta(minutes=5))
        hasty = await add_item(connection, "hasty", due_for=timedelta(seconds=2))
        await settle(connection, "patient", linger=timedelta(hours=1))
        await settle(connection, "hasty", linger=timedelta(0))
        found = await overdue(connection)
        await settle(connection, "patient", linger=timedelta(minutes=1))
        later = await overdue(connection)

    assert (found, later) == ({hasty}, {hasty, patient})


async def test_a_pause_is_a_reason_to_wait_for_the_audit(database: Database) -> None:
    """What is paused, or was set going a moment ago, is not forgotten; a refused batch and what lies since long is."""
    async with database.connection() as connection:
        await add_item(connection, "w")
        await add_batch(connection, "w", "sealed")
        await settle(connection, "w", is_paused=True)
        paused = await forgotten(connection)
        await settle(connection, "w", ago=timedelta(seconds=1))
        resumed = await forgotten(connection)
        await settle(connection, "w")
        lying = await forgotten(connection)
        await settle(connection, "w", is_paused=True)
        await add_batch(connection, "w", "refused")
        refused = await forgotten(connection)

    assert (paused, resumed, lying, refused) == (0, 0, 2, 1)


async def test_an_open_window_is_a_reason_to_wait_for_the_audit(database: Database) -> None:
    """A workspace with a linger time of its own of two days may have an item that waits for one."""
    async with database.connection() as connection:
        await add_item(connection, "w")
        await settle(connection, "w", linger=2 * DAY)
        waiting = await forgotten(connection)
        await settle(connection, "w", linger=timedelta(hours=1))
        lying = await forgotten(connection)

    assert (waiting, lying) == (0, 1)


async def test_the_keys_that_have_waited_longest_are_rung_first(database: Database) -> None:
    """Keys with items or sealed batches, each once, in the order of their oldest."""
    async with database.connection() as connection:
        young = await add_item(connection, "w", due_for=timedelta(seconds=1))
        middle = await add_item(connection, "w", due_for=timedelta(hours=1))
        await add_item(connection, "w", due_for=timedelta(seconds=2), key=middle)
        old = await add_batch(connection, "w", "sealed")
        await add_item(connection, "other")
        keys = await keys_with_work(connection, Place(project_id="p", workspace="w"), limit=10)
        first = await keys_with_work(connection, Place(project_id="p", workspace="w"), limit=1)

    assert (keys, first) == ([old, middle, young], [old])


async def test_workspaces_are_listed_once_each_and_in_order(database: Database) -> None:
    """Those with items and those with something settled, page by page, and only the visible ones."""
    async with database.connection() as connection:
        for workspace in ("b", "d", "d", "f_1"):
            await add_item(connection, workspace)
        for workspace in ("a", "d", "e"):
            await settle(connection, workspace)
        pages: list[list[str]] = [[]]
        after: Place | None = None
        while places := await list_places(connection, visible=EVERYTHING, after=after, limit=2):
            pages.append([place.workspace for place in places])
            after = places[-1]
        some = await list_places(connection, visible=["p/d", r"p/f\_%"], after=None, limit=10)

    assert pages[1:] == [["a", "b"], ["d", "e"], ["f_1"]]
    assert [place.workspace for place in some] == ["d", "f_1"]


async def test_a_workspace_without_a_row_is_as_all_others(database: Database) -> None:
    """Nothing is settled for it, and it has nothing of its own."""
    async with database.connection() as connection:
        await add_item(connection, "w", due_for=timedelta(hours=1))
        (view,) = await describe_workspaces(connection, [Place(project_id="p", workspace="w")])

    assert (view.waiting, view.breaker, view.hold) == (1, None, None)
    assert view.governance.own == OwnSettings()
    assert view.oldest_for is not None
    assert timedelta(minutes=59) < view.oldest_for < timedelta(minutes=61)


async def test_what_is_not_seen_is_not_made(database: Database) -> None:
    """A workspace outside the caller's patterns gets no row and no lock."""
    place = Place(project_id="p", workspace="theirs")
    async with database.connection() as connection:
        locked = await lock_workspace(connection, place, visible=["p/mine"])
        rows = await connection.fetchval("SELECT count(*) FROM workspaces")

    assert (locked, rows) == (None, 0)


@pytest.mark.parametrize(
    "column",
    [
        "max_items = 0",
        "max_items = 101",
        "quiet = '-1 s'",
        "linger = '8 days'",
        "rate = -1",
        "rate = 'NaN'",
        "rate = 'Infinity'",
        "concurrency = -1",
        "concurrency = 1001",
        "paused_reason = 'without a pause'",
    ],
)
async def test_the_database_refuses_settings_out_of_bounds(database: Database, column: str) -> None:
    """No door and no hand can settle what the workers could not go by."""
    async with database.connection() as connection:
        await settle(connection, "w")
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"UPDATE workspaces SET {column}")  # noqa: S608 - of this file
