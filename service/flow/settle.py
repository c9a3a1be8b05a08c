"""Writes what a call came to, on the batch, its attempt, its items and their requests, in one transaction.

Takes: a claimed batch and the report of its call.
Leaves: a settled batch, or one that waits for its next try or for a reconcile.
If it dies here: the lease runs out and the batch is in doubt.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never
from uuid import UUID

import structlog

from service.core.errors import DatabaseUnavailable, QueueUnavailable
from service.core.model import Batch, BatchState, WaitReason
from service.core.outcomes import (
    CallReport,
    InDoubt,
    NotSent,
    Outcome,
    Rejected,
    Released,
    Throttled,
    VendorError,
)
from service.core.telemetry import LogEvent
from service.core.verdict import Verdict, judge
from service.deps import WorkerDeps
from service.flow.breakers import keep_breakers
from service.flow.tracing import note_verdict
from service.gateways.limits import Asking
from service.gateways.permits import Permit
from service.gateways.store import batches, progress, unknown_commits
from service.gateways.store.batches import AttemptRecord
from service.gateways.store.database import Connection

_RETRY_PAUSE_SECONDS = 0.2
_CONCLUDE_WITHIN_SECONDS = 2.0
_SKEW_WORTH_A_WARNING = timedelta(minutes=5)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A verdict that is committed: whose requests it changed, and whether something may wait under its key."""

    request_ids: list[UUID]
    has_more: bool


async def settle(
    deps: WorkerDeps, batch: Batch, report: CallReport, *, asking: Asking, permit: Permit
) -> bool:
    """Write the outcome of a call under the batch's epoch, and let the other workers know what it means for them.

    They are not made to wait for PostgreSQL: after a 429 each call that they still make is one too many. Returns
    whether something may wait under the key.
    """
    verdict = judge(
        report.outcome,
        counted_attempts=batch.counted_attempts,
        items=len(batch.pending_item_ids),
        policy=deps.settings.retry_policy.at_age(batch.age),
        was_in_doubt=batch.was_in_doubt,
    )
    concluding = asyncio.create_task(
        conclude_permit(deps, asking, permit, report.outcome, pause=verdict.delay)
    )
    try:
        written = await write_verdict(deps, batch, verdict, record_of(report))
    finally:
        await concluding
    note_verdict(verdict)
    _log_skew(report)
    if written is None:
        log.warning(LogEvent.OUTCOME_FENCED, outcome=verdict.outcome.value)
        return True
    _log_verdict(batch, verdict)
    deps.changes.tell(written.request_ids)
    return written.has_more


async def write_verdict(
    deps: WorkerDeps, batch: Batch, verdict: Verdict, record: AttemptRecord
) -> Written | None:
    """Write a verdict, again and again while Postgres is away; None where the batch is no longer ours.

    Raises:
        DatabaseUnavailable: Postgres stayed away for longer than a lease, so that others have taken over anyway.
    """

    async def work(connection: Connection) -> Written | None:
        settled = await batches.settle_batch(connection, batch, verdict=verdict, record=record)
        if settled is None:
            return None
        detail = batches.verdict_detail(verdict)
        changed = await progress.follow_rest(connection, batch, settled.carried, detail=detail)
        return Written(request_ids=changed, has_more=settled.has_more)

    give_up_at = time.monotonic() + deps.settings.lease.total_seconds()
    while True:
        try:
            return await deps.database.transact(work)
        except DatabaseUnavailable:
            if time.monotonic() >= give_up_at:
                raise
        await asyncio.sleep(_RETRY_PAUSE_SECONDS)
        if await was_written(deps, batch, verdict):
            return Written(request_ids=[], has_more=True)


async def was_written(deps: WorkerDeps, batch: Batch, verdict: Verdict) -> bool:
    """Tell whether a commit whose answer was lost did happen."""
    try:
        async with deps.database.connection() as connection:
            outcome = await unknown_commits.find_outcome(connection, batch)
    except DatabaseUnavailable:
        return False
    return outcome is verdict.outcome


async def conclude_permit(
    deps: WorkerDeps,
    asking: Asking,
    permit: Permit,
    outcome: Outcome | None,
    *,
    pause: timedelta | None = None,
) -> None:
    """Hand the permit back and share what its outcome means; without Redis it ends by itself."""
    match outcome:
        case Throttled(scope=scope):
            seconds = pause.total_seconds() if pause else 0
            log.warning(LogEvent.THROTTLE_OBSERVED, scope=scope.value, pause_seconds=seconds)
        case _:
            pass  # the rest concerns this batch alone
    try:
        async with asyncio.timeout(_CONCLUDE_WITHIN_SECONDS):
            changed = await deps.permits.conclude(asking, permit, outcome=outcome, pause=pause)
    except (QueueUnavailable, TimeoutError) as error:
        log.warning(LogEvent.QUEUE_LOST, reason=str(error) or "no answer in time")
    else:
        await keep_breakers(deps, changed, words=_words(outcome))


def _words(outcome: Outcome | None) -> str | None:
    match outcome:
        case Released() | None:
            return None
        case InDoubt(reason=reason, error=error):
            return error.error_msg or reason
        case Rejected(error=error) | Throttled(error=error) | NotSent(error=error):
            return error.error_msg
        case _:
            assert_never(outcome)


def record_of(report: CallReport) -> AttemptRecord:
    """Take from a report what is kept on the attempt."""
    error: VendorError | None
    match report.outcome:
        case Released(request_id=request_id):
            error = VendorError(status=200, error_code=None, error_msg=None, request_id=request_id)
        case Rejected(error=error) | Throttled(error=error) | NotSent(error=error) | InDoubt(error=error):
            pass
        case _:
            assert_never(report.outcome)
    return AttemptRecord(sent_at=report.sent_at, error=error)


def _log_verdict(batch: Batch, verdict: Verdict) -> None:
    vendor = verdict.error.vendor if verdict.error else None
    words = {"vendor_code": vendor.error_code, "vendor_message": vendor.error_msg} if vendor else {}
    match verdict.batch_state:
        case BatchState.RELEASED:
            log.info(
                LogEvent.BATCH_RELEASED,
                items=len(batch.pending_item_ids),
                release_package_id=verdict.release_package_id,
            )
        case BatchState.REJECTED | BatchState.REFUSED:
            log.warning(LogEvent.BATCH_REJECTED, **words)
        case BatchState.FAILED:
            log.warning(LogEvent.BATCH_FAILED, **words)
        case BatchState.IN_DOUBT:
            reason = verdict.error.message if verdict.error else None
            log.warning(LogEvent.BATCH_IN_DOUBT, **words, reason=reason)
        case _:
            log.info(LogEvent.BATCH_POSTPONED, **words, **_postponement(verdict))


def _postponement(verdict: Verdict) -> dict[str, object]:
    return {
        "outcome": verdict.outcome.value,
        "delay_seconds": verdict.delay.total_seconds() if verdict.delay else 0,
        "wait_reason": (verdict.wait_reason or WaitReason.BACKOFF).value,
    }


def _log_skew(report: CallReport) -> None:
    skew = report.clock_skew_seconds
    if skew is not None and abs(skew) > _SKEW_WORTH_A_WARNING.total_seconds():
        log.warning(LogEvent.CLOCK_SKEWED, skew_seconds=round(skew))
