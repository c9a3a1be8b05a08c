"""The safety net: finds what has been left lying, whoever left it, and sets it going again.

Takes: nothing but Postgres.
Leaves: rung doorbells, batches of dead workers in doubt, items past their deadline expired.
If it dies here: the next worker's sweep does the same.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from service.core.errors import DatabaseUnavailable, QueueUnavailable
from service.core.leasing import LeaseTimes
from service.core.model import ItemError
from service.core.telemetry import LogEvent
from service.core.verifying import MAX_SKEW
from service.deps import WorkerDeps
from service.flow.rejects import forget_old_rejects
from service.gateways.store import batches, expiring, lanes, progress, signed_calls
from service.gateways.store.database import Connection

#: How long past its time something may lie before the sweep believes its doorbell lost.
_BELL_GRACE = timedelta(seconds=1)
#: Overdue for longer than minus that: all that waits, also what is not due yet. A look rings again in time.
_EVERYTHING = timedelta(days=-3650)
#: In one sweep; the next one rings for the rest.
_MOST_RINGS = 1_000
#: The date of a call may be ahead of us, and then lies in the window for twice as long.
_NO_REPLAY_AFTER = 2 * MAX_SKEW + timedelta(minutes=5)
_LEASE_EXPIRED = ItemError(
    code="in-doubt",
    message="The worker that was releasing this stopped without saying whether the vendor was called.",
    retryable=False,
    vendor=None,
)
_DEADLINE_PASSED = ItemError(
    code="deadline-passed",
    message="The deadline passed before the item could be sent.",
    retryable=False,
    vendor=None,
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What one sweep did."""

    rung: int
    taken_over: int
    expired: int

    @property
    def did_something(self) -> bool:
        """Whether there was anything to do."""
        return bool(self.rung or self.taken_over or self.expired)


async def sweep_once(deps: WorkerDeps) -> SweepReport:
    """Look at everything once.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; the next sweep will do it.
    """
    taken_over = await take_over_expired(deps)
    expired = await expire_late_items(deps)
    rung = await ring_lost_bells(deps)
    await forget_old_holds(deps)
    await forget_old_rejects(deps)
    await forget_signed_calls(deps)
    deps.metrics.count_repairs(rung=rung, taken_over=taken_over, expired=expired)
    return SweepReport(rung=rung, taken_over=taken_over, expired=expired)


async def take_over_expired(deps: WorkerDeps) -> int:
    """Put batches whose lease has run out in doubt: their call may have been made."""

    async def work(connection: Connection) -> tuple[Sequence[UUID], list[UUID]]:
        times = LeaseTimes.of(deps.settings)
        settle = times.is_quiet_after - times.ends_after + deps.settings.settle
        batch_ids = await expiring.take_over_expired(connection, error=_LEASE_EXPIRED, settle=settle)
        if not batch_ids:
            return (), []
        detail: dict[str, object] = {"outcome": "in_doubt", "error": batches.error_json(_LEASE_EXPIRED)}
        return batch_ids, await progress.follow_batches(connection, batch_ids, attempt=None, detail=detail)

    batch_ids, request_ids = await deps.database.transact(work)
    for batch_id in batch_ids:
        log.warning(LogEvent.BATCH_IN_DOUBT, batch_id=str(batch_id), reason="lease expired")
    deps.changes.tell(request_ids)
    return len(batch_ids)


async def expire_late_items(deps: WorkerDeps) -> int:
    """End the waiting items whose deadline has passed; who is attached to them goes on in their place."""

    async def work(connection: Connection) -> tuple[int, list[UUID]]:
        expired = await expiring.expire_items(connection, error=_DEADLINE_PASSED)
        if not expired.item_ids:
            return 0, []
        await expiring.hand_on(connection, expired.item_ids)
        await expiring.lock_requests(connection, expired.request_ids)
        detail: dict[str, object] = {"error": batches.error_json(_DEADLINE_PASSED)}
        changed = await progress.follow_requests(connection, expired.request_ids, detail=detail)
        return len(expired.item_ids), changed

    count, request_ids = await deps.database.transact(work)
    deps.changes.tell(request_ids)
    return count


async def ring_lost_bells(deps: WorkerDeps) -> int:
    """Ring for every key whose work has been due for too long; for all keys when Redis has forgotten everything.

    A doorbell that was rung by a clock that is ahead of this worker's would wait for as long as they differ.
    """
    has_lost_all = await _has_lost_all(deps)
    async with deps.database.connection() as connection:
        keys = await lanes.overdue_keys(
            connection,
            items_for=_EVERYTHING if has_lost_all else _BELL_GRACE,
            batches_for=_EVERYTHING if has_lost_all else _BELL_GRACE,
            linger=deps.settings.batch_linger,
            limit=_MOST_RINGS,
        )
    rung = 0
    for key in keys:
        try:
            rung += await deps.doorbells.ring_at_once(key)
        except QueueUnavailable as error:
            log.warning(LogEvent.QUEUE_LOST, reason=str(error), keys=len(keys))
            break
    return rung


async def _has_lost_all(deps: WorkerDeps) -> bool:
    try:
        return await deps.doorbells.has_lost_memory()
    except QueueUnavailable:
        return False


async def forget_old_holds(deps: WorkerDeps) -> None:
    """Delete the holds that nobody is shown any more."""
    async with deps.database.connection() as connection:
        await lanes.forget_holds(connection)


async def forget_signed_calls(deps: WorkerDeps) -> None:
    """Forget the signed calls whose dates are too old to be taken once more."""
    async with deps.database.connection() as connection:
        await signed_calls.forget_calls(connection, older_than=_NO_REPLAY_AFTER)


async def run_sweeps(deps: WorkerDeps, *, on_round: Callable[[], None]) -> None:
    """Sweep every period until cancelled; a sweep that fails is only the next one's reason.

    ``on_round`` is called before each sweep: the loop turns.
    """
    while True:
        on_round()
        try:
            report = await sweep_once(deps)
        except DatabaseUnavailable as error:
            log.warning(LogEvent.SWEEP_FAILED, reason=str(error))
        except Exception:
            log.exception(LogEvent.SWEEP_FAILED)
        else:
            if report.did_something:
                log.info(
                    LogEvent.SWEEP_DONE,
                    rung=report.rung,
                    taken_over=report.taken_over,
                    expired=report.expired,
                )
        await asyncio.sleep(deps.settings.sweep_period.total_seconds())
