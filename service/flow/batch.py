"""Answers a doorbell: makes one batch of what waits under a key, once it is due and may be sent.

Takes: a batch key that somebody rang for.
Leaves: a batch with its lease and its first attempt in Postgres, before any call.
If it dies here: before the seal the items still wait; after it the lease runs out and the batch is in doubt.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import structlog

from service.core.errors import DatabaseUnavailable
from service.core.ids import new_id
from service.core.leasing import LeaseTimes
from service.core.model import Batch, ClosedBy, WaitReason
from service.core.planning import Close, KeepOpen, Window, decide_window, package_name
from service.core.telemetry import LogEvent
from service.deps import WorkerDeps
from service.flow.next_look import Answer, look_at, ring_for_the_rest
from service.flow.release import ClaimedBatch, release_batch
from service.flow.ring import ring_if_possible
from service.flow.settle import conclude_permit
from service.flow.split import split_refused
from service.flow.tracing import over_batch
from service.gateways.doorbells import Ring
from service.gateways.limits import Asking
from service.gateways.permits import Permit, Refused
from service.gateways.store import claiming, lanes, progress, unknown_commits
from service.gateways.store.claiming import Claimed, Lease
from service.gateways.store.database import Connection
from service.gateways.store.lanes import Lane
from service.gateways.store.progress import NOBODY_CARRIED, Carried

#: Longer, and too little of the lease would be left for the call.
_FIND_OUT_WITHIN_SECONDS = 5.0
_FIND_OUT_PAUSE_SECONDS = 0.2
#: So long after its resumption a workspace's first call still begins a slow start; less than the limiter remembers.
_RESUMED_LATELY = timedelta(seconds=60)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Something under the key may be sent now: a sealed batch, or items whose window has closed."""

    asking: Asking
    #: None for a batch that is sealed already.
    closed_by: ClosedBy | None
    #: When to look at what the batch leaves, should it be full.
    rest: Ring | None = None

    def window(self, deps: WorkerDeps) -> Window:
        """Return the batching window of the workspace."""
        return self.asking.own.window(deps.settings.window)


async def answer_doorbell(deps: WorkerDeps, batch_key: UUID) -> Answer:
    """Send at most one batch of the key: due, permit, seal, call, settle. Or look into one that was refused."""
    lane = await look_at(deps, batch_key)
    if lane.has_refused_due:
        await split_refused(deps, batch_key)
        return Answer()
    due = decide_due(lane, batch_key, deps)
    if due is None:
        return Answer(lane=lane)
    permit = await take_permit(deps, due)
    if permit is None:
        return Answer()
    claimed = await claim_or_give_back(deps, due, permit)
    if claimed is None:
        return Answer()
    with await over_batch(deps, claimed.batch):
        has_more = await release_batch(deps, claimed, asking=due.asking, permit=permit)
    return Answer(has_called=True, has_more=has_more)


def decide_due(lane: Lane, batch_key: UUID, deps: WorkerDeps) -> Due | None:
    """Tell what of a key may be sent now; sealed batches go first, since they have waited longest."""
    asking = who_asks(lane, batch_key)
    if asking is None or lane.is_paused:
        return None
    if lane.has_sealed_due:
        asking = replace(asking, is_retry=lane.sealed_tries > 0)
        return Due(asking=asking, closed_by=None, rest=Ring(batch_key=batch_key, delay=timedelta(0)))
    if lane.waiting is None:
        return None
    match decide_window(lane.waiting, lane.window(deps.settings.window), now=lane.now):
        case Close(closed_by=closed_by):
            return Due(asking=asking, closed_by=closed_by, rest=ring_for_the_rest(lane, batch_key, deps))
        case KeepOpen():
            return None


def who_asks(lane: Lane, batch_key: UUID) -> Asking | None:
    """Name the key to the limiter, with what its workspace has of its own; None where nothing waits under it."""
    if lane.project_id is None or lane.workspace is None:
        return None
    resumed_at = lane.governance.resumed_at
    return Asking(
        batch_key=batch_key,
        project_id=lane.project_id,
        workspace=lane.workspace,
        own=lane.governance.own,
        resumed_at=resumed_at if resumed_at and lane.now - resumed_at < _RESUMED_LATELY else None,
    )


async def take_permit(deps: WorkerDeps, due: Due) -> Permit | None:
    """Ask the shared limiter; where it refuses, write why and until when for the callers to see."""
    answer = await deps.permits.ask(due.asking)
    if isinstance(answer, Permit):
        return answer
    await hold_back(deps, due.asking.batch_key, answer)
    return None


async def hold_back(deps: WorkerDeps, batch_key: UUID, refused: Refused) -> None:
    """Record what holds a key back, or, where retries are used up, a batch; it costs nothing but time."""
    log.debug(
        LogEvent.PERMIT_REFUSED, wait_reason=refused.reason.value, delay_seconds=refused.delay.total_seconds()
    )
    deps.metrics.count_refused_permit(refused.reason)
    write = claiming.put_off if refused.reason is WaitReason.BACKOFF else lanes.hold
    async with deps.database.connection() as connection:
        await write(connection, batch_key, reason=refused.reason, delay=refused.delay)


async def claim_or_give_back(deps: WorkerDeps, due: Due, permit: Permit) -> ClaimedBatch | None:
    """Claim a batch, or hand the permit back where there is none to claim or the claim fails."""
    claimed: ClaimedBatch | None = None
    try:
        claimed = await claim_batch(deps, due)
    finally:
        if claimed is None:
            await conclude_permit(deps, due.asking, permit, None)
    return claimed


async def claim_batch(deps: WorkerDeps, due: Due) -> ClaimedBatch | None:
    """Claim a sealed batch or seal a new one, with its attempt, in one transaction; None where others were faster."""
    write_before = time.monotonic() + LeaseTimes.of(deps.settings).writes_until.total_seconds()
    claimed = await commit_claim(deps, due)
    if claimed is None:
        return None
    batch, request_ids = claimed
    log_claimed(batch, due)
    if due.closed_by is not None:
        deps.metrics.count_sealed(items=len(batch.pending_item_ids))
    deps.changes.tell(request_ids)
    if due.rest is not None and len(batch.pending_item_ids) >= due.window(deps).max_items:
        await ring_if_possible(deps.doorbells, due.rest)
    return ClaimedBatch(batch=batch, write_before=write_before)


def log_claimed(batch: Batch, due: Due) -> None:
    """Say what was claimed, now that it is committed, and have all further lines name the batch."""
    structlog.contextvars.bind_contextvars(**batch.log_fields)
    if due.closed_by is None:
        log.info(LogEvent.BATCH_CLAIMED, package_name=batch.package_name)
        return
    log.info(
        LogEvent.BATCH_SEALED,
        items=len(batch.pending_item_ids),
        closed_by=due.closed_by.value,
        package_name=batch.package_name,
    )


async def commit_claim(deps: WorkerDeps, due: Due) -> tuple[Batch, list[UUID]] | None:
    """Write the claim; where the answer to the commit is lost, read back whether it happened.

    Raises:
        DatabaseUnavailable: nothing was claimed, or nobody can tell; then the lease runs out.
    """
    lease = Lease(worker=deps.worker_name, duration=deps.settings.lease)
    tried: tuple[Batch, list[UUID]] | None = None

    async def work(connection: Connection) -> tuple[Batch, list[UUID]] | None:
        nonlocal tried
        tried = None
        if due.closed_by is None:
            sealed = await claiming.claim_sealed(connection, due.asking.batch_key, lease=lease)
            claimed = (sealed, NOBODY_CARRIED) if sealed else None
        else:
            claimed = await _seal(connection, due, lease, max_items=due.window(deps).max_items)
        if claimed is not None:
            batch, carried = claimed
            detail = claiming.claim_detail(batch)
            tried = batch, await progress.follow_rest(connection, batch, carried, detail=detail)
        return tried

    try:
        return await deps.database.transact(work)
    except DatabaseUnavailable:
        if tried is None or not await _was_claimed(deps, tried[0]):
            raise
    return tried


async def _was_claimed(deps: WorkerDeps, batch: Batch) -> bool:
    give_up_at = time.monotonic() + _FIND_OUT_WITHIN_SECONDS
    while time.monotonic() < give_up_at:
        try:
            async with deps.database.connection() as connection:
                return await unknown_commits.is_claimed(connection, batch, worker=deps.worker_name)
        except DatabaseUnavailable:
            await asyncio.sleep(_FIND_OUT_PAUSE_SECONDS)
    return False


async def _seal(
    connection: Connection, due: Due, lease: Lease, *, max_items: int
) -> tuple[Batch, Carried] | None:
    asking = due.asking
    claimed = await claiming.claim_items(
        connection, asking.batch_key, place=asking.place, max_items=max_items
    )
    if claimed is None or due.closed_by is None:
        return None
    batch = plan_batch(new_id(), claimed)
    return batch, await claiming.seal_batch(
        connection, batch, items=claimed.items, closed_by=due.closed_by, lease=lease
    )


def plan_batch(batch_id: UUID, claimed: Claimed) -> Batch:
    """Put claimed items into one batch under a name of its own."""
    return Batch(
        batch_id=batch_id,
        key=claimed.key,
        package_name=package_name(batch_id, workspace=claimed.key.workspace, chosen=claimed.key.package_name),
        pending_item_ids=tuple(item.pending_item_id for item in claimed.items),
        epoch=1,
        attempt_number=1,
        counted_attempts=0,
        traceparent=claimed.traceparent,
    )
