"""How PostgreSQL runs the statements of the store: by index, whatever it knows of the tables, however long they are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

import asyncpg
import pytest

from service.core.batch_key import BatchKey
from service.core.ids import first_id_within, new_id
from service.core.model import (
    AttemptOutcome,
    Batch,
    BatchState,
    ClosedBy,
    Conclusion,
    ItemError,
    ItemState,
    RequestState,
    WaitReason,
)
from service.core.operations import Operation, OperationAction
from service.core.place import Place
from service.core.request_filter import RequestFilter
from service.core.verdict import Verdict
from service.flow.accept_group import accept_group
from service.gateways.store import (
    batch_family,
    batch_lists,
    batch_reading,
    batches,
    cancelling,
    changes,
    claiming,
    expiring,
    foreseeing,
    gauges,
    held,
    holding,
    lanes,
    leases,
    limiter_memory,
    operations,
    overview,
    progress,
    pruning,
    reading,
    reconciling,
    request_lists,
    request_periods,
    resolving,
    retrying,
    splitting,
    traces,
    unknown_commits,
    waiting,
    workers,
    workspace_reading,
    workspaces,
)
from service.gateways.store.batch_lists import BatchFilter
from service.gateways.store.batches import AttemptRecord
from service.gateways.store.claiming import Lease
from service.gateways.store.database import Connection, Database, PoolSize
from service.gateways.store.holding import ItemRef
from service.gateways.store.request_lists import ListPosition
from service.gateways.store.retrying import OtherHolder
from tests.gateways.store.test_statements import statements
from tests.support.grown import WORKSPACES, grow
from tests.support.new_requests import a_request
from tests.support.plans import Explaining, indexes_of, lasting_plan, planning, scans_of
from tests.support.servers import Databases

REQUESTS = 20_000
#: So few that PostgreSQL takes reading all of them for cheap.
A_FEW_REQUESTS = 400
#: The most rows of one table that a statement may read beside what it returns: a small part of what is there.
MOST_READ = 1_500
#: By how many times PostgreSQL may be wrong about the rows that a part of a plan finds.
MOST_MISJUDGED = 60
MINUTE = timedelta(minutes=1)
EVERYTHING = ("%",)
SOME = ("project/ws-1", "project/ws-2")
ERROR = ItemError(code="expired", message="", retryable=False, vendor=None)
LEASE = Lease(worker="worker", duration=MINUTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the grown database has, one of each."""

    released: UUID
    waiting: UUID
    cancelled: UUID
    #: Requests that ended without a release.
    ended: list[UUID]
    key: UUID
    place: Place
    item: str
    idempotency_key: str
    labels: dict[str, str]
    created_at: datetime
    #: One batch in each state.
    batches: dict[str, asyncpg.Record]

    def batch(self, state: str) -> Batch:
        """Return a batch as its worker knows it."""
        row = self.batches[state]
        return Batch(
            batch_id=row["id"],
            key=BatchKey.of(
                project_id="project",
                workspace=row["workspace"],
                apply_user_id=row["apply_user_id"],
                approver_ids=["approver"],
                package_name=None,
            ),
            package_name=row["package_name"],
            pending_item_ids=(),
            epoch=1,
            attempt_number=1,
            counted_attempts=0,
            was_in_doubt=False,
            age=timedelta(0),
            traceparent=None,
        )

    def key_of(self, state: str) -> UUID:
        """Return the batch key of a batch in a state."""
        key: UUID = self.batches[state]["batch_key"]
        return key


Use = Callable[[Connection, Sample], Awaitable[object]]


async def accept(connection: Connection, _sample: Sample) -> None:
    """New requests; then one under a key that is known, one that shares an item, one in conflict, one that is there."""
    first = a_request("1", "2", key="new")
    await accept_group(connection, [first, a_request("3")])
    again = [a_request("4", key="new"), a_request("1"), a_request("2", applicant="eve"), first]
    await accept_group(connection, again)
    await connection.execute(
        "DELETE FROM release_items WHERE request_id = $1 AND position = 0", first.request_id
    )
    await holding.insert_holders(connection, [ItemRef(request=first, position=0)])


async def look(connection: Connection, sample: Sample) -> None:
    """Looks of a worker at keys, and of the sweep at all of them."""
    await lanes.look(connection, sample.key, max_items=100)
    await lanes.look(connection, sample.key_of("released"), max_items=100)
    await lanes.hold(connection, sample.key, reason=WaitReason.RATE, delay=MINUTE)
    await lanes.overdue_keys(connection, items_for=MINUTE, batches_for=MINUTE, linger=MINUTE, limit=1_000)
    await lanes.forget_holds(connection)
    await limiter_memory.recall(connection, "credential")


async def release(connection: Connection, sample: Sample) -> None:
    """A batch from the claim of its items to its end."""
    claimed = await claiming.claim_items(connection, sample.key, place=sample.place, max_items=100)
    assert claimed is not None
    batch = replace(sample.batch("released"), batch_id=new_id(), key=claimed.key)
    await claiming.seal_batch(connection, batch, items=claimed.items, closed_by=ClosedBy.SIZE, lease=LEASE)
    await progress.follow_batches(connection, [batch.batch_id], attempt=1, detail={})
    await leases.extend_lease(connection, batch, duration=MINUTE)
    await unknown_commits.is_claimed(connection, batch, worker="worker")
    verdict = Verdict(
        outcome=AttemptOutcome.RELEASED,
        batch_state=BatchState.RELEASED,
        item_state=ItemState.RELEASED,
        is_counted=True,
        release_package_id="1",
    )
    settled = await batches.settle_batch(
        connection, batch, verdict=verdict, record=AttemptRecord(sent_at=None, error=None)
    )
    assert settled is not None
    await unknown_commits.find_outcome(connection, batch)


async def send_again(connection: Connection, sample: Sample) -> None:
    """A batch that waits for its next call."""
    await claiming.put_off(
        connection, sample.key_of("sealed"), reason=WaitReason.RATE, delay=timedelta(seconds=-1)
    )
    batch = await claiming.claim_sealed(connection, sample.key_of("sealed"), lease=LEASE)
    assert batch is not None
    await progress.follow_batches(connection, [batch.batch_id], attempt=2, detail={})


async def part(connection: Connection, sample: Sample) -> None:
    """A batch that was refused."""
    refusal = await splitting.lend_refusal(connection, sample.key_of("refused"), loan=MINUTE)
    assert refusal is not None
    await splitting.put_off_refusal(connection, refusal, delay=MINUTE)
    bad, *good = refusal.pending_item_ids
    await splitting.reject_items(connection, refusal.batch_id, {bad: ERROR})
    await splitting.make_child(
        connection, refusal.batch_id, child_id=new_id(), package_name="part", items=good
    )
    await splitting.end_refused(connection, refusal, state=BatchState.SPLIT, evidence={})


async def reconcile(connection: Connection, sample: Sample) -> None:
    """A batch in doubt."""
    (doubt,) = await reconciling.lend_doubts(connection, workspaces=10, limit=100, loan=MINUTE)
    assert doubt.batch_id == sample.batches["in_doubt"]["id"]
    await leases.extend_loans(connection, {doubt.batch_id: doubt.epoch}, loan=MINUTE)
    await reconciling.keep_look(connection, doubt, evidence={}, delay=timedelta(seconds=-1))
    (doubt,) = await reconciling.lend_doubts(connection, workspaces=10, limit=100, loan=MINUTE)
    found = Conclusion(batch_state=BatchState.RELEASED, item_state=ItemState.RELEASED, release_package_id="1")
    await reconciling.conclude_doubt(connection, doubt, conclusion=found, evidence={})
    await progress.follow_batches(connection, [doubt.batch_id], attempt=1, detail={})


async def expire(connection: Connection, _sample: Sample) -> None:
    """What has run out: leases and deadlines."""
    await connection.execute(
        "UPDATE batches SET lease_expires_at = now() - interval '1 s' WHERE state = 'sending'"
    )
    await expiring.take_over_expired(connection, error=ERROR, settle=MINUTE)
    await connection.execute(
        "UPDATE release_items SET deadline = now() WHERE batch_id IS NULL AND NOT is_free AND holder_id IS NULL"
    )
    expired = await expiring.expire_items(connection, error=ERROR)
    assert len(expired.item_ids) > 1
    await expiring.hand_on(connection, expired.item_ids)
    await expiring.lock_requests(connection, expired.request_ids)
    await progress.follow_requests(connection, expired.request_ids, detail={})


async def resolve(connection: Connection, sample: Sample) -> None:
    """A batch that waits for an operator."""
    batch = await resolving.lock_batch(
        connection, sample.batches["needs_attention"]["id"], visible=EVERYTHING
    )
    assert batch is not None
    await resolving.last_attempt(connection, batch.batch_id)
    await resolving.is_resolved_by(connection, batch.batch_id, new_id())
    await resolving.requests_of_batch(connection, batch.batch_id)
    await resolving.owner_of_package(connection, batch, str(sample.batches["released"]["id"]))
    made = Conclusion(batch_state=BatchState.RELEASED, item_state=ItemState.RELEASED, release_package_id="1")
    await resolving.resolve_batch(connection, batch, attempt_number=1, conclusion=made, resolution={})


async def act(connection: Connection, sample: Sample) -> None:
    """Requests that somebody cancels or retries."""
    picked = [sample.waiting, sample.cancelled, sample.released, *sample.ended]
    await foreseeing.find_prospects(connection, picked, visible=EVERYTHING)
    await cancelling.find_standing(connection, sample.waiting, visible=EVERYTHING)
    locked = await cancelling.lock_items(connection, sample.waiting)
    await cancelling.cancel_items(connection, [item.item_id for item in locked])
    await cancelling.lock_items(connection, sample.cancelled)
    await retrying.lock_for_retry(connection, sample.cancelled)
    await retrying.find_other_holders(connection, sample.cancelled)
    other = OtherHolder(
        item_id=locked[0].item_id,
        holder_id=await connection.fetchval("SELECT min(id) FROM release_items"),
        request_id=sample.released,
        pending_item_id=sample.item,
        apply_user_id="applicant",
        approver_ids=("approver",),
    )
    await retrying.reopen(connection, sample.waiting, [other], detail={})


async def read(connection: Connection, sample: Sample) -> None:
    """One request, as its caller and those who wait for it see it."""
    await reading.find_request(connection, sample.released, visible=EVERYTHING)
    await reading.find_request(connection, sample.waiting, visible=SOME)
    await reading.find_version(connection, sample.released, visible=EVERYTHING)
    await reading.events_of_request(connection, sample.released, after=0, limit=100)
    await connection.fetch(changes.FIND_VERSIONS, [sample.released, sample.waiting])
    await request_lists.find_requests(connection, [sample.released, sample.waiting], visible=EVERYTHING)


async def list_batches(connection: Connection, sample: Sample) -> None:
    """Batches: the newest, of a workspace, in a state, those that wait for an operator, and one."""
    for wanted in (
        BatchFilter(),
        BatchFilter(project_id="project", workspace="ws-1"),
        BatchFilter(state=BatchState.FAILED),
    ):
        for visible in (EVERYTHING, SOME):
            await batch_lists.list_batches(connection, wanted, visible=visible, before=None, limit=51)
    await batch_lists.list_parked(connection, visible=EVERYTHING, behind=None, limit=51)
    batch_id = sample.batches["released"]["id"]
    await batch_reading.find_batch(connection, batch_id, visible=EVERYTHING)
    await batch_family.find_relatives(connection, [batch_id])
    await batch_family.items_of_family(connection, batch_id)
    await workers.calls_under_way(connection, visible=EVERYTHING, limit=500)
    await traces.traces_of_batches(connection, [batch["id"] for batch in sample.batches.values()])


async def count(connection: Connection, sample: Sample) -> None:
    """What waits, and where."""
    await waiting.count_waiting(connection)
    await waiting.count_waiting_at(connection, [sample.place], up_to=1_000)
    await waiting.count_all_waiting(connection, up_to=1_000)
    await held.find_held(connection, most=100)
    await gauges.read_gauges(connection, most_places=5)
    await gauges.find_ended(connection, [sample.released, sample.waiting])


async def govern(connection: Connection, sample: Sample) -> None:
    """Workspaces, as operators see and set them."""
    places = await workspace_reading.list_places(connection, visible=EVERYTHING, after=None, limit=51)
    assert len(places) == WORKSPACES
    await workspace_reading.describe_workspaces(connection, places)
    await overview.count_live(connection, visible=EVERYTHING)
    await overview.count_ended(connection, visible=EVERYTHING, span=timedelta(hours=1), parts=60)
    await overview.latest_mishaps(connection, visible=EVERYTHING, limit=5)
    await workspaces.lock_workspace(connection, sample.place, visible=EVERYTHING)
    await workspaces.lift_holds(connection, sample.place)
    await workspaces.keys_with_work(connection, sample.place, limit=1_000)
    await workspaces.own_windows(connection)


def lists(sample: Sample) -> Iterator[tuple[str, RequestFilter]]:
    """Each filter of a list, and those that go together."""
    yield "all", RequestFilter()
    yield "project", RequestFilter(project_id="project")
    yield "workspace", RequestFilter(workspace="ws-1")
    for state in RequestState:
        yield state, RequestFilter(state=state)
        yield f"{state} in a workspace", RequestFilter(workspace="ws-1", state=state)
    yield "our error code", RequestFilter(error_code="vendor-failed")
    yield "the vendor's error code", RequestFilter(error_code="DLF.3051")
    yield "no error code", RequestFilter(error_code="DLF.0000")
    yield "item", RequestFilter(item=sample.item)
    yield "label", RequestFilter(labels=sample.labels)
    yield "idempotency key", RequestFilter(idempotency_key=sample.idempotency_key)
    yield "after", RequestFilter(created_after=sample.created_at)
    yield "before", RequestFilter(created_before=sample.created_at)


async def list_requests(connection: Connection, sample: Sample) -> None:
    """The first and a later page of every list, for those who see all and those who see some."""
    behind = ListPosition(created_at=sample.created_at, request_id=sample.released)
    for _, wanted in lists(sample):
        for visible in (EVERYTHING, SOME):
            for position in (None, behind):
                await request_lists.list_requests(
                    connection, wanted, visible=visible, behind=position, limit=50
                )


async def prune(connection: Connection, _sample: Sample) -> None:
    """What has ended."""
    kept_for = timedelta(hours=1)
    (period,) = (await request_periods.list_periods(connection)).periods
    bounds = {"behind": period.from_id, "before": first_id_within(kept_for)}
    ended = await pruning.find_ended(connection, **bounds, kept_for=kept_for, look_at=50)
    assert ended.request_ids
    await pruning.lock_items(connection, ended.request_ids)
    assert await request_periods.count_retries(connection, period) == 0
    await request_periods.release_held(connection, ended.request_ids, period, kept_for=kept_for)
    assert await pruning.prune_requests(connection, ended.request_ids, kept_for=kept_for)
    assert (await pruning.prune_batches(connection, **bounds, kept_for=kept_for, look_at=50)).last_id


async def operate(connection: Connection, _sample: Sample) -> None:
    """Many requests at once."""
    for action in OperationAction:
        wanted = RequestFilter(workspace="ws-1")
        await operations.count_targets(connection, wanted, visible=EVERYTHING, states=action.states)
        await operations.sample_targets(
            connection, wanted, visible=EVERYTHING, states=action.states, limit=10
        )
        operation = Operation(
            operation_id=new_id(),
            action=action,
            filter={},
            caller="caller",
            actor="actor",
            visible=EVERYTHING,
            reason="reason",
            http_request_id=None,
        )
        await operations.add_operation(connection, operation, wanted, total=1)


USES: dict[str, Use] = {
    use.__name__: use
    for use in (
        accept, look, release, send_again, part, reconcile, expire, resolve, act, read, list_requests, prune,
        list_batches, count, govern, operate,
    )
}  # fmt: skip
#: Statements that read all there is: of the audit, which sees to its plans itself, and of the comparison after a demo.
#: The counts for a scrape go through the index of all that lives, or the smallest index of all requests; they are made
#: the more rarely the longer they take.
READ_EVERYTHING = (
    "audit_agreement", "audit_releases", "audit_waiting", "auditing", "summary", "gauges.COUNT_FINISHED",
    "gauges.COUNT_LIVE",
)  # fmt: skip
#: Parts of statements, and those that touch no table that grows, or one row by its key.
NOT_USED_HERE = (
    "api_keys", "audit_log", "breakers", "console_sessions", "generations", "liveness", "rejects", "signed_calls",
    "changes.NOTIFY", "changes.PROBE", "operations.PLAN_FOR_VALUES", "operations.FIND_PROGRESS", "operations.ABORT",
    "operations.TAKE_TARGET", "operations.CONCLUDE_TARGET", "operations.FINISH_OPERATIONS", "operation_lists", "about",
    "request_periods.ADD_PERIOD", "request_periods.DROP_PERIOD",
    "request_periods.LIMIT_WAITS", "request_periods.LIST_PERIODS",
    "pruning.PRUNE_GENERATIONS", "pruning.PRUNE_OPERATIONS", "pruning.TRY_LOCK",
    "reading.SELECT_REQUEST", "request_lists.SELECT_REQUEST", "waiting.LOCK_LAST_PLACES",
    "workers.FORGET_WORKERS", "workers.KEEP_SIGN", "workers.LIST_WORKERS", "workspaces.KEEP_WORKSPACE",
)  # fmt: skip
#: Planned so only before the first ANALYZE, and used only for batches in doubt.
NOT_ON_EMPTY_TABLES = ("foreseeing.FIND_PROSPECTS", "leases.EXTEND_LOANS")
#: Planned anew for the values of each use.
PLANNED_EACH_TIME = (
    "request_lists.LIST_REQUESTS", "operations.COUNT_TARGETS", "operations.SAMPLE_TARGETS", "operations.ADD_TARGETS",
    "reading.SELECT_REQUEST", "request_lists.SELECT_REQUEST", "audit_log.LIST_ENTRIES",
)  # fmt: skip


@pytest.fixture(scope="module")
def grown(databases: Databases, migrated_template: str, session_runner: asyncio.Runner) -> Iterator[str]:
    """The address of a database with a history, the same for all tests: none may change it."""
    name = session_runner.run(databases.create(template=migrated_template))
    session_runner.run(grow(databases.url(name), requests=REQUESTS))
    yield databases.url(name)
    session_runner.run(databases.drop(name))


@pytest.fixture
async def database(grown: str) -> AsyncIterator[Database]:
    database = await Database.open(grown, PoolSize(smallest=1, largest=2))
    yield database
    await database.close()


async def sample_of(connection: Connection) -> Sample:
    """Pick one of each."""
    waits = await connection.fetchrow("SELECT * FROM release_requests WHERE state = 'accepted' LIMIT 1")
    released = await connection.fetchrow(
        """
        SELECT * FROM release_requests WHERE state = 'released' AND labels <> '{}'
        ORDER BY created_at OFFSET 3000 LIMIT 1
        """
    )
    assert waits is not None
    assert released is not None
    states = await connection.fetch("SELECT DISTINCT ON (state) * FROM batches ORDER BY state, id")
    return Sample(
        released=released["id"],
        waiting=waits["id"],
        cancelled=await connection.fetchval(
            "SELECT id FROM release_requests WHERE state = 'cancelled' LIMIT 1"
        ),
        ended=await connection.fetchval(
            "SELECT array_agg(id) FROM release_requests WHERE state IN ('failed', 'rejected')"
        ),
        key=waits["batch_key"],
        place=Place(project_id="project", workspace=waits["workspace"]),
        item=await connection.fetchval(
            "SELECT pending_item_id FROM release_items WHERE request_id = $1 LIMIT 1", released["id"]
        ),
        idempotency_key=released["idempotency_key"],
        labels=released["labels"],
        created_at=released["created_at"],
        batches={row["state"]: row for row in states},
    )


async def use(database: Database, name: str) -> Explaining:
    """Let a use explain its statements, and take back what it did."""
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            explaining = Explaining(connection)
            await USES[name](cast("Connection", explaining), await sample_of(connection))
        finally:
            await transaction.rollback()
    return explaining


@pytest.mark.parametrize("name", USES)
async def test_few_rows_are_read(database: Database, name: str) -> None:
    """However long the tables are, each statement reads a few of their rows, and about as many as expected."""
    seen = (await use(database, name)).seen
    wrong = [
        f"{scan}\n{statement}"
        for statement, scans in seen
        for scan in scans
        if scan.rows_read > MOST_READ or scan.misjudged_by > MOST_MISJUDGED
    ]

    assert seen
    assert wrong == []


@pytest.mark.parametrize("requests", [0, A_FEW_REQUESTS, REQUESTS])
async def test_plans_that_last_read_no_whole_table(grown: str, database_url: str, requests: int) -> None:
    """A plan that is made while there is little, and kept while that becomes much, finds its rows by index too."""
    if requests == A_FEW_REQUESTS:
        await grow(database_url, requests=requests)
    async with planning(grown if requests == REQUESTS else database_url) as connection:
        indexes = await indexes_of(connection)
        wrong = [
            f"{name}: {scan}"
            for name, statement in statements()
            if not name.startswith(READ_EVERYTHING)
            and name not in PLANNED_EACH_TIME
            and (requests or name not in NOT_ON_EMPTY_TABLES)
            for scan in scans_of(await lasting_plan(connection, statement), indexes=indexes)
            if scan.reads_all
        ]

    assert wrong == []


async def test_each_statement_is_used_or_set_apart(database: Database) -> None:
    """A new statement is in a use above, or somebody has said why it need not be."""
    used = {statement for name in USES for statement, _ in (await use(database, name)).seen}
    left = [
        name
        for name, statement in statements()
        if statement not in used and not name.startswith((*READ_EVERYTHING, *NOT_USED_HERE))
    ]

    assert left == []
