"""What happens to items is carried over to requests and attached rows, also by two batches at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import asyncpg
import pytest

from service.core.batch_key import BatchKey
from service.core.ids import new_id
from service.core.model import AttemptOutcome, Batch, BatchState, ClosedBy, ItemError, ItemState
from service.core.verdict import Verdict
from service.gateways.store import batches, claiming, progress
from service.gateways.store.batches import AttemptRecord
from service.gateways.store.claiming import ClaimedItem, Lease
from service.gateways.store.database import Connection, Database, PoolSize
from tests.support.waiting import eventually

KEY = BatchKey.of(project_id="p", workspace="w", apply_user_id="u", approver_ids=["a"], package_name=None)
RELEASED = Verdict(
    outcome=AttemptOutcome.RELEASED,
    batch_state=BatchState.RELEASED,
    item_state=ItemState.RELEASED,
    is_counted=True,
    release_package_id="1",
)
SENT_AGAIN = replace(
    RELEASED, batch_state=BatchState.SEALED, item_state=ItemState.BATCHED, release_package_id=None
)
ERROR = ItemError(code="vendor_rejected", message="no", retryable=False, vendor=None)
REJECTED, FAILED, IN_DOUBT = (
    replace(RELEASED, batch_state=batch, item_state=item, release_package_id=None, error=ERROR)
    for batch, item in (
        (BatchState.REJECTED, ItemState.REJECTED),
        (BatchState.FAILED, ItemState.FAILED),
        (BatchState.IN_DOUBT, ItemState.IN_DOUBT),
    )
)
#: One for each state in which a call leaves items.
VERDICTS = [RELEASED, SENT_AGAIN, REJECTED, FAILED, IN_DOUBT]
NOTHING = AttemptRecord(sent_at=None, error=None)

ADD_REQUEST = """
INSERT INTO release_requests (id, caller, body_digest, project_id, workspace, apply_user_id, approver_ids, batch_key)
VALUES ($1, 'test', decode(repeat('00', 32), 'hex'), 'p', 'w', 'u', ARRAY['a'], $2)
"""
COUNT_ITEMS = """
UPDATE release_requests AS r SET item_count = (SELECT count(*) FROM release_items AS i WHERE i.request_id = r.id)
"""
#: Where a request and its timeline stand, without what is another in each run.
STANDING = """
SELECT
    r.state, r.error, r.version, r.finished_at IS NOT NULL AS is_done,
    ARRAY(
        SELECT (e.seq, e.type, e.state, e.attempt, e.detail - 'package_name')::text FROM request_events AS e
        WHERE e.request_id = r.id
        ORDER BY e.seq
    ) AS events
FROM release_requests AS r
"""
ADD_EVENT = (
    "INSERT INTO request_events (request_id, seq, type, state) VALUES ($1, 1, 'request.accepted', 'accepted')"
)
ADD_ITEM = """
INSERT INTO release_items
(request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, holder_id)
VALUES ($1, $2, 'p', 'w', $3, $4, 'normal', now(), $5)
RETURNING id
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, PoolSize(smallest=1, largest=6))
    yield database
    await database.close()


async def add_request(
    connection: Connection, items: Sequence[str], *, holders: Sequence[int | None] = ()
) -> UUID:
    request_id = new_id()
    await connection.execute(ADD_REQUEST, request_id, KEY.digest)
    await connection.execute(ADD_EVENT, request_id)
    for position, item in enumerate(items):
        holder = holders[position] if holders else None
        await connection.fetchval(ADD_ITEM, request_id, position, item, KEY.digest, holder)
    return request_id


async def seal(database: Database, item: str) -> Batch:
    """Make a claimed batch of the one item."""

    async def work(connection: Connection) -> Batch:
        row = await connection.fetchrow(
            "SELECT id, request_id FROM release_items WHERE pending_item_id = $1 AND holder_id IS NULL", item
        )
        assert row is not None
        batch = Batch(
            batch_id=new_id(),
            key=KEY,
            package_name=f"release-{item}",
            pending_item_ids=(item,),
            epoch=1,
            attempt_number=1,
            counted_attempts=0,
        )
        claimed = ClaimedItem(item_id=row["id"], request_id=row["request_id"], pending_item_id=item)
        lease = Lease(worker="test", duration=timedelta(seconds=30))
        carried = await claiming.seal_batch(
            connection, batch, items=[claimed], closed_by=ClosedBy.QUIET, lease=lease
        )
        await progress.follow_rest(connection, batch, carried, detail=claiming.claim_detail(batch))
        return batch

    return await database.transact(work)


async def settle(connection: Connection, batch: Batch, verdict: Verdict = RELEASED) -> bool:
    settled = await batches.settle_batch(connection, batch, verdict=verdict, record=NOTHING)
    if settled is None:
        return False
    await progress.follow_rest(connection, batch, settled.carried, detail=batches.verdict_detail(verdict))
    return True


async def state_of(database: Database, request_id: UUID) -> tuple[str, int]:
    async with database.connection() as connection:
        row = await connection.fetchrow(
            "SELECT state, version FROM release_requests WHERE id = $1", request_id
        )
    assert row is not None
    return row["state"], row["version"]


async def test_two_batches_of_one_request_settled_at_once_make_it_released(database: Database) -> None:
    """The later of two settlements sees what the earlier wrote, although neither had committed at first."""
    async with database.connection() as connection:
        request_id = await add_request(connection, ["1", "2"])
    first, second = await seal(database, "1"), await seal(database, "2")
    has_settled, may_commit = asyncio.Event(), asyncio.Event()

    async def settle_first(connection: Connection) -> None:
        await settle(connection, first)
        has_settled.set()
        await may_commit.wait()

    settling = asyncio.ensure_future(database.transact(settle_first))
    await has_settled.wait()
    also_settling = asyncio.ensure_future(database.transact(lambda connection: settle(connection, second)))
    await eventually(lambda: waits_for_a_lock(database))
    may_commit.set()
    await asyncio.gather(settling, also_settling)

    assert (await state_of(database, request_id))[0] == "released"


async def waits_for_a_lock(database: Database) -> bool:
    async with database.connection() as connection:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )


async def test_a_settlement_under_an_old_epoch_writes_nothing(database: Database) -> None:
    """Once another has taken the batch over, the first worker's outcome changes no row."""
    async with database.connection() as connection:
        request_id = await add_request(connection, ["1"])
    batch = await seal(database, "1")
    async with database.connection() as connection:
        await connection.execute("UPDATE batches SET epoch = 2")
    before = await state_of(database, request_id)
    was_written = await database.transact(lambda connection: settle(connection, batch))

    assert was_written is False
    assert await state_of(database, request_id) == before
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT outcome FROM attempts") is None


async def test_a_settlement_is_written_once(database: Database) -> None:
    """The same outcome written again, after a commit whose answer was lost, changes nothing."""
    async with database.connection() as connection:
        request_id = await add_request(connection, ["1"])
    batch = await seal(database, "1")
    first = await database.transact(lambda connection: settle(connection, batch))
    version = (await state_of(database, request_id))[1]
    second = await database.transact(lambda connection: settle(connection, batch))

    assert (first, second) == (True, False)
    assert await state_of(database, request_id) == ("released", version)


async def test_a_settlement_tells_whether_anything_is_left_under_its_key(database: Database) -> None:
    """A batch that is to be sent again is, each time, though it has a package name by then; one that ended is not."""
    async with database.connection() as connection:
        await add_request(connection, ["1"])
    batch = await seal(database, "1")
    told = []
    for verdict in (SENT_AGAIN, SENT_AGAIN, RELEASED):

        async def work(connection: Connection, batch: Batch = batch, verdict: Verdict = verdict) -> bool:
            settled = await batches.settle_batch(connection, batch, verdict=verdict, record=NOTHING)
            assert settled is not None
            return settled.has_more

        told.append(await database.transact(work))
        if verdict is SENT_AGAIN:
            batch = await claim_again(database)

    assert told == [True, True, False]


async def claim_again(database: Database) -> Batch:
    lease = Lease(worker="test", duration=timedelta(seconds=30))
    batch = await database.transact(
        lambda connection: claiming.claim_sealed(connection, KEY.digest, lease=lease)
    )
    assert batch is not None
    return batch


async def test_attached_rows_follow_the_row_that_holds_their_item(database: Database) -> None:
    """A request that shares the item has the same outcome, package and batch."""
    async with database.connection() as connection:
        holder = await add_request(connection, ["1"])
        holder_item = await connection.fetchval("SELECT id FROM release_items WHERE request_id = $1", holder)
        follower = await add_request(connection, ["1"], holders=[holder_item])
    batch = await seal(database, "1")
    while_releasing = await state_of(database, follower)
    await database.transact(lambda connection: settle(connection, batch))

    assert while_releasing == ("releasing", 2)
    assert await state_of(database, follower) == ("released", 3)
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(DISTINCT batch_id) FROM release_items") == 1


async def test_a_row_that_is_attached_under_the_eyes_of_a_settlement_follows(database: Database) -> None:
    """It is not there when the settlement begins, which waits for it; both requests end as released."""
    async with database.connection() as connection:
        holder = await add_request(connection, ["1"])
        await connection.execute(COUNT_ITEMS)
    batch = await seal(database, "1")
    has_attached, may_commit = asyncio.Event(), asyncio.Event()

    async def attach(connection: Connection) -> UUID:
        item = await connection.fetchval("SELECT id FROM release_items FOR SHARE")
        follower = await add_request(connection, ["1"], holders=[item])
        await connection.execute(
            "UPDATE release_items SET state = 'releasing', batch_id = $1 WHERE holder_id IS NOT NULL",
            batch.batch_id,
        )
        has_attached.set()
        await may_commit.wait()
        return follower

    attaching = asyncio.ensure_future(database.transact(attach))
    await has_attached.wait()
    settling = asyncio.ensure_future(database.transact(lambda connection: settle(connection, batch)))
    await eventually(lambda: waits_for_a_lock(database))
    may_commit.set()
    follower, _ = await asyncio.gather(attaching, settling)

    assert (await state_of(database, holder))[0] == (await state_of(database, follower))[0] == "released"


async def test_a_request_that_is_only_partly_in_a_batch_stands_where_all_its_items_do(
    database: Database,
) -> None:
    """While its first item is in doubt, neither the sealing nor the release of its second makes it anything else."""
    async with database.connection() as connection:
        request_id = await add_request(connection, ["1", "2"])
        await connection.execute(COUNT_ITEMS)
    first = await seal(database, "1")
    await database.transact(partial(settle, batch=first, verdict=IN_DOUBT))
    second = await seal(database, "2")
    while_sealed = await state_of(database, request_id)
    await database.transact(partial(settle, batch=second))

    assert while_sealed[0] == "in_doubt"
    assert (await state_of(database, request_id))[0] == "in_doubt"


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.batch_state.value)
async def test_a_request_that_is_in_a_batch_as_a_whole_fares_as_any_other(
    database: Database, verdict: Verdict
) -> None:
    """Whether it is carried on with its batch or by what its items say, row and timeline are the same."""
    standings = []
    for is_counted in (False, True):
        async with database.connection() as connection:
            await connection.execute("DELETE FROM release_requests")
            await add_request(connection, ["1"])
            if is_counted:
                await connection.execute(COUNT_ITEMS)
        batch = await seal(database, "1")
        await database.transact(partial(settle, batch=batch, verdict=verdict))
        async with database.connection() as connection:
            standings.append([tuple(row) for row in await connection.fetch(STANDING)])

    assert standings[0] == standings[1]
    assert len(standings[0][0][4]) == 3


@pytest.mark.parametrize(
    ("items", "state"),
    [
        (["released"], "released"),
        (["released", "rejected"], "partly_released"),
        (["released", "waiting"], "releasing"),
        (["rejected", "rejected"], "rejected"),
        (["rejected", "failed"], "failed"),
        (["expired", "rejected"], "rejected"),
        (["expired", "cancelled"], "expired"),
        (["cancelled"], "cancelled"),
        (["waiting"], "accepted"),
        (["batched", "waiting"], "batched"),
        (["releasing", "batched"], "releasing"),
        (["in_doubt", "released", "releasing"], "in_doubt"),
        (["needs_attention", "in_doubt"], "needs_attention"),
    ],
)
async def test_a_request_stands_where_its_items_stand(
    database: Database, items: list[str], state: str
) -> None:
    """What needs somebody comes first, then what moves, then what all items came to."""
    async with database.connection() as connection:
        request_id = await add_request(connection, [str(position) for position in range(len(items))])
        batch_id = (await seal(database, "0")).batch_id
        for position, item_state in enumerate(items):
            await connection.execute(
                "UPDATE release_items SET state = $3::item_state, "
                "batch_id = CASE WHEN $3 IN ('waiting', 'cancelled', 'expired') THEN NULL ELSE $4::uuid END "
                "WHERE request_id = $1 AND position = $2",
                request_id,
                position,
                item_state,
                batch_id,
            )
    await database.transact(lambda connection: progress.follow_requests(connection, [request_id], detail={}))

    assert (await state_of(database, request_id))[0] == state


async def test_a_request_that_is_done_stays_as_it_is(database: Database) -> None:
    """Whatever happens to its items afterwards, a final state, its version and its timeline are final."""
    async with database.connection() as connection:
        request_id = await add_request(connection, ["1"])
    batch = await seal(database, "1")
    await database.transact(lambda connection: settle(connection, batch))
    done = await state_of(database, request_id)
    async with database.connection() as connection:
        await connection.execute("UPDATE release_items SET state = 'needs_attention'")
    await database.transact(lambda connection: progress.follow_requests(connection, [request_id], detail={}))

    assert await state_of(database, request_id) == done


async def test_every_version_has_its_event(database: Database) -> None:
    """The timeline has one event a version, in order, and the last one has the state of the request."""
    async with database.connection() as connection:
        request_id = await add_request(connection, ["1"])
    batch = await seal(database, "1")
    await database.transact(lambda connection: settle(connection, batch))
    async with database.connection() as connection:
        events = await connection.fetch("SELECT seq, type, state FROM request_events ORDER BY seq")

    assert [tuple(event) for event in events] == [
        (1, "request.accepted", "accepted"),
        (2, "request.releasing", "releasing"),
        (3, "request.released", "released"),
    ]
    assert await state_of(database, request_id) == ("released", 3)


async def test_two_live_holders_are_refused_by_the_database(database: Database) -> None:
    """Not the code but a constraint keeps a pending item from being held twice."""
    async with database.connection() as connection:
        await add_request(connection, ["1"])

        with pytest.raises(asyncpg.UniqueViolationError, match="item_holders_pkey"):
            await add_request(connection, ["1"])
