"""Periods: what is older than the retention goes with its partitions, in one piece and without anybody waiting."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.core.auditing import Patience
from service.core.config import Settings
from service.core.ids import first_id_at, new_id
from service.core.request_periods import RequestPeriod
from service.flow.accept_group import accept_group
from service.flow.acting import Actor, NoSuchRequest, retry_within
from service.flow.audit import audit
from service.flow.prune import prepare_period, prune_once
from service.gateways.store import pruning, request_periods
from service.gateways.store.accepting import NewRequest
from service.gateways.store.database import Database, PoolSize
from service.gateways.store.request_periods import Drop
from tests.support.grown import grow
from tests.support.new_requests import a_request
from tests.support.sql import fetch_rows, fetch_value
from tests.support.waiting import eventually

DAY = timedelta(days=1)
KEPT_FOR = 30 * DAY
COUNT = 100
LEFT = """
SELECT
    (SELECT count(*) FROM release_requests) AS requests, (SELECT count(*) FROM release_items) AS items,
    (SELECT count(*) FROM request_events) AS events, (SELECT count(*) FROM idempotency_keys) AS keys,
    (SELECT count(*) FROM item_holders) AS holders, (SELECT count(*) FROM batches) AS batches,
    (SELECT count(*) FROM attempts) AS attempts
"""
PERIODS = "SELECT array_agg(name ORDER BY from_id) FROM request_periods"
PARTITIONS = """
SELECT count(*) FROM pg_inherits
WHERE inhparent IN ('release_requests'::regclass, 'release_items'::regclass, 'request_events'::regclass)
"""
WAITS_FOR_A_LOCK = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def midnight(age: timedelta) -> datetime:
    return (datetime.now(UTC) - age).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, PoolSize(smallest=1, largest=4))
    yield database
    await database.close()


@pytest.fixture
async def old(database: Database, database_url: str) -> RequestPeriod:
    """A period that ended before the retention, full of requests that are done."""
    period = RequestPeriod(
        name="old", from_id=first_id_at(midnight(45 * DAY)), to_id=first_id_at(midnight(35 * DAY))
    )
    async with database.connection() as connection, connection.transaction():
        assert await request_periods.add_period(connection, period)
    await grow(database_url, requests=COUNT, under_way=(), age=40 * DAY)
    return period


async def left(database_url: str) -> dict[str, Any]:
    (row,) = await fetch_rows(database_url, LEFT)
    return dict(row)


async def a_released(database_url: str) -> Any:  # noqa: ANN401 - a row
    (row,) = await fetch_rows(
        database_url,
        "SELECT r.id, r.workspace, r.apply_user_id, h.pending_item_id FROM release_requests AS r"
        " JOIN item_holders AS h ON h.request_id = r.id WHERE r.state = 'released' ORDER BY r.id LIMIT 1",
    )
    return row


@pytest.mark.parametrize("kept_for", [KEPT_FOR, 5 * DAY], ids=["longer than it", "shorter than it"])
async def test_a_period_that_is_over_goes_with_its_partitions(
    database: Database, database_url: str, old: RequestPeriod, kept_for: timedelta
) -> None:
    """With all that belongs to its requests, and so do their batches."""
    before = await fetch_value(database_url, PARTITIONS)

    assert await prune_once(database, kept_for) == COUNT
    assert set((await left(database_url)).values()) == {0}
    assert old.name not in await fetch_value(database_url, PERIODS)
    assert await fetch_value(database_url, PARTITIONS) == before - 3


@pytest.mark.usefixtures("old")
async def test_a_period_that_is_over_in_part_stays_whole(database: Database, database_url: str) -> None:
    """What ended before the retention waits in it for the rest; nothing is deleted row by row."""
    before = await left(database_url)

    assert await prune_once(database, 37 * DAY) == 0
    assert await left(database_url) == before


@pytest.mark.usefixtures("old")
async def test_what_lives_keeps_its_period_and_nothing_else_in_it(
    database: Database, database_url: str
) -> None:
    """The rest is deleted row by row; when the last one has ended long enough ago, the partitions go."""
    request_id = await fetch_value(
        database_url,
        "UPDATE release_requests SET state = 'accepted', finished_at = NULL"
        " WHERE id = (SELECT id FROM release_requests WHERE state = 'cancelled' LIMIT 1) RETURNING id",
    )

    assert await prune_once(database, KEPT_FOR) == COUNT - 1
    assert (await left(database_url))["requests"] == 1
    await _end(database_url, request_id, DAY)
    assert await prune_once(database, KEPT_FOR) == 0
    await _end(database_url, request_id, 31 * DAY)
    assert await prune_once(database, KEPT_FOR) == 1
    assert "old" not in await fetch_value(database_url, PERIODS)


async def _end(database_url: str, request_id: UUID, age: timedelta) -> None:
    await fetch_value(
        database_url,
        "UPDATE release_requests SET state = 'cancelled', finished_at = now() - $2::interval WHERE id = $1",
        request_id,
        age,
    )


def the_same(row: Any) -> NewRequest:  # noqa: ANN401 - a row
    """A new request for the same item, with the same applicant and approvers."""
    return a_request(
        row["pending_item_id"],
        applicant=row["apply_user_id"],
        approvers=["approver"],
        workspace=row["workspace"],
        project_id="project",
    )


async def test_a_younger_request_that_shares_an_item_keeps_who_holds_it(
    database: Database, database_url: str, old: RequestPeriod
) -> None:
    """Its item is not free for a third while it is kept; the audit finds nothing wrong on the way."""
    released = await a_released(database_url)
    await database.transact(lambda connection: accept_group(connection, [the_same(released)]))

    assert await prune_once(database, KEPT_FOR) == COUNT - 1
    holders = await fetch_rows(
        database_url,
        "SELECT request_id FROM item_holders WHERE pending_item_id = $1",
        released["pending_item_id"],
    )
    assert [row["request_id"] for row in holders] == [released["id"]]
    assert old.name in await fetch_value(database_url, PERIODS)
    assert (await audit(database, Patience.of(Settings.from_env({})))).is_clean


async def test_nobody_waits_for_a_drop_and_no_drop_for_anybody(
    database: Database, database_url: str, old: RequestPeriod
) -> None:
    """While somebody reads the tables the period stays as a whole, for the next round."""
    async with database.connection() as reader, reader.transaction():
        await reader.fetchval("SELECT count(*) FROM release_requests")
        assert await asyncio.wait_for(prune_once(database, KEPT_FOR), 10) == 0
        assert (await left(database_url))["requests"] == COUNT
        assert old.name in await fetch_value(database_url, PERIODS)

    assert await prune_once(database, KEPT_FOR) == COUNT


async def test_who_asks_for_an_item_at_the_end_of_its_holder_gets_it_anew(
    database: Database, database_url: str, old: RequestPeriod
) -> None:
    """It waits until the item is given free, and does not attach to what is about to go."""
    released = await a_released(database_url)
    asked = the_same(released)
    async with database.connection() as pruner, pruner.transaction():
        await pruning.lock_items(pruner, [released["id"]])
        asking = asyncio.create_task(database.transact(lambda connection: accept_group(connection, [asked])))
        await eventually(
            lambda: fetch_value(database_url, WAITS_FOR_A_LOCK), what="one who waits for the item"
        )
        await request_periods.release_held(pruner, [released["id"]], old, kept_for=KEPT_FOR)
    await asking
    holder = await fetch_value(
        database_url,
        "SELECT request_id FROM item_holders WHERE pending_item_id = $1",
        released["pending_item_id"],
    )

    assert holder == asked.request_id


async def test_who_is_attaching_at_the_end_of_a_holder_keeps_it(
    database: Database, database_url: str, old: RequestPeriod
) -> None:
    """Pruning waits for whoever has found the holder already, and then sees that the item is shared."""
    released = await a_released(database_url)
    async with database.connection() as asking, asking.transaction():
        await accept_group(asking, [the_same(released)])
        pruning_all = asyncio.create_task(prune_once(database, KEPT_FOR))
        await eventually(lambda: fetch_value(database_url, WAITS_FOR_A_LOCK), what="pruning that waits")

    assert await pruning_all == COUNT - 1
    assert old.name in await fetch_value(database_url, PERIODS)


async def test_a_request_that_was_retried_a_moment_ago_keeps_what_it_holds(
    database: Database, database_url: str, old: RequestPeriod
) -> None:
    """It had ended when it was found, and is live when its items are locked."""
    released = await a_released(database_url)
    await fetch_value(
        database_url,
        "UPDATE release_requests SET state = 'accepted', finished_at = NULL WHERE id = $1",
        released["id"],
    )
    before = await left(database_url)
    await database.transact(
        partial(request_periods.release_held, request_ids=[released["id"]], period=old, kept_for=KEPT_FOR)
    )

    assert await left(database_url) == before


@pytest.mark.parametrize("kept_for", [timedelta(0), KEPT_FOR])
async def test_the_next_period_is_made_before_it_begins(
    database: Database, database_url: str, kept_for: timedelta
) -> None:
    """Once: a second worker finds it there. Requests of that time lie in its partitions."""
    await drop_all(database)
    await asyncio.gather(*(prepare_period(database, kept_for) for _ in range(3)))
    await prepare_period(database, kept_for)
    tomorrow = midnight(-DAY)

    assert await fetch_value(database_url, PERIODS) == [f"{tomorrow:%Y%m%d}"]


async def test_a_clock_that_is_ahead_keeps_a_period_from_being_made(
    database: Database, database_url: str
) -> None:
    """Its requests are in no period, and nothing is lost."""
    await drop_all(database)
    ahead = replace(a_request("1"), request_id=new_id(now_ms=int(midnight(-2 * DAY).timestamp() * 1000)))
    await database.transact(lambda connection: accept_group(connection, [ahead]))
    await prepare_period(database, KEPT_FOR)

    assert await fetch_value(database_url, PERIODS) is None
    assert (await left(database_url))["requests"] == 1


async def test_partitions_are_not_made_while_others_lock_the_tables(
    database: Database, database_url: str
) -> None:
    """The next round tries again."""
    await drop_all(database)
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE release_items IN ROW EXCLUSIVE MODE")
            await prepare_period(database, KEPT_FOR)
            assert await fetch_value(database_url, PERIODS) is None
    finally:
        await connection.close()
    await prepare_period(database, KEPT_FOR)

    assert len(await fetch_value(database_url, PERIODS)) == 1


async def drop_all(database: Database) -> None:
    there = await database.read(request_periods.list_periods)
    for period in there.periods:
        assert await gone_through_and_dropped(database, period) is Drop.DONE


LIVES = "UPDATE release_requests SET state = 'accepted', finished_at = NULL WHERE state = 'cancelled'"
HOLDS = "DELETE FROM item_holders WHERE pending_item_id <> (SELECT min(pending_item_id) FROM item_holders)"


@pytest.mark.parametrize(
    "statements", [("DELETE FROM item_holders", LIVES), (HOLDS,)], ids=["lives", "holds an item"]
)
async def test_nothing_that_is_needed_is_dropped(
    database: Database, database_url: str, old: RequestPeriod, statements: tuple[str, ...]
) -> None:
    """It is looked again under the lock: somebody may have accepted or attached something a moment before."""
    for statement in statements:
        await fetch_value(database_url, statement)

    assert await gone_through_and_dropped(database, old) is Drop.NEEDED
    assert (await left(database_url))["requests"] == COUNT


async def gone_through_and_dropped(database: Database, period: RequestPeriod) -> Drop:
    retries = await database.transact(partial(request_periods.count_retries, period=period))
    assert retries is not None
    return await database.transact(partial(request_periods.drop_period, period=period, retries=retries))


async def test_a_request_that_was_retried_meanwhile_keeps_its_period(
    database: Database, database_url: str, old: RequestPeriod
) -> None:
    """Also where it has ended again by then: that was a moment ago."""
    await fetch_value(database_url, "DELETE FROM item_holders")
    retries = await database.transact(partial(request_periods.count_retries, period=old))
    assert retries == 0
    await fetch_value(database_url, LIVES)
    await fetch_value(
        database_url,
        "UPDATE release_requests SET state = 'cancelled', finished_at = now() WHERE finished_at IS NULL",
    )
    drop = partial(request_periods.drop_period, period=old, retries=retries)

    assert await database.transact(drop) is Drop.BUSY
    assert (await left(database_url))["requests"] == COUNT


@pytest.mark.parametrize(
    "ended_ago", [None, 20 * DAY, 39 * DAY], ids=["lives", "ended lately", "ended long ago"]
)
async def test_an_item_is_free_only_when_all_who_share_it_are_past_the_retention(
    database: Database, database_url: str, old: RequestPeriod, ended_ago: timedelta | None
) -> None:
    """Also where they came in within the same period."""
    released = await a_released(database_url)
    sharing = replace(
        the_same(released), request_id=new_id(now_ms=int(midnight(36 * DAY).timestamp() * 1000))
    )
    await database.transact(lambda connection: accept_group(connection, [sharing]))
    await fetch_value(
        database_url,
        "UPDATE release_requests SET finished_at = now() - $2::interval,"
        " state = CASE WHEN $2::interval IS NULL THEN 'releasing' ELSE 'released' END::request_state WHERE id = $1",
        sharing.request_id,
        ended_ago,
    )
    await prune_once(database, KEPT_FOR)
    is_held = await fetch_value(
        database_url,
        "SELECT count(*) FROM item_holders WHERE pending_item_id = $1",
        released["pending_item_id"],
    )

    assert bool(is_held) is (ended_ago != 39 * DAY)
    assert (old.name in (await fetch_value(database_url, PERIODS))) is (ended_ago != 39 * DAY)


async def test_what_has_lost_its_key_is_not_retried(
    database: Database, database_url: str, old: RequestPeriod
) -> None:
    """It is past the retention and about to go: its key may be another request's by now."""
    failed = await fetch_value(database_url, "SELECT id FROM release_requests WHERE state = 'failed' LIMIT 1")
    actor = Actor(name="ann", visible=("%",), owner=None, reason=None, http_request_id=None)
    await database.transact(
        partial(request_periods.release_held, request_ids=[failed], period=old, kept_for=KEPT_FOR)
    )
    outcome = await database.transact(lambda connection: retry_within(connection, failed, actor))

    assert outcome == NoSuchRequest()


async def test_a_second_worker_drops_nothing_that_it_has_not_looked_at(
    database: Database, database_url: str, old: RequestPeriod
) -> None:
    """While another one prunes it leaves all to that one."""
    await fetch_value(database_url, "DELETE FROM item_holders")
    async with database.connection() as other, other.transaction():
        assert await pruning.try_lock(other)
        assert await prune_once(database, KEPT_FOR) == 0

    assert old.name in await fetch_value(database_url, PERIODS)
