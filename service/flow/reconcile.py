"""Turns doubt into certainty by asking the vendor's lists.

Takes: batches in doubt, once no call for them can still be under way.
Leaves: a released batch, one that may be sent again under the same name, or one that needs an operator; and on the
attempt, what the looks saw.
If it dies here: the loan of the batch ends within seconds and the next reconcile looks again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never
from uuid import UUID

import structlog

from service.core.errors import Unavailable
from service.core.model import BatchState, Conclusion, ItemError, ItemState
from service.core.outcomes import NO_WORDS
from service.core.reconciling import (
    Fail,
    GiveUp,
    Look,
    LookAgain,
    Reject,
    Release,
    Resend,
    Standing,
    Unreadable,
    decide,
    with_look,
)
from service.core.telemetry import LogEvent
from service.core.verdict import RetryPolicy, rejection
from service.deps import WorkerDeps
from service.flow.breakers import vouch_for_vendor
from service.flow.loans import LOAN, keeping
from service.flow.looks import look_at_items, look_for_package, read_packages, read_pending
from service.flow.ring import ring_now
from service.flow.tracing import over_doubts
from service.gateways.limits import Asking
from service.gateways.store import progress, reconciling
from service.gateways.store.batches import error_json
from service.gateways.store.database import Connection
from service.gateways.store.reconciling import Doubt
from service.gateways.vendor.classify import may_be_an_item
from service.gateways.vendor.lists import Listing
from service.gateways.vendor.records import ReleasePackage

_MOST_AT_ONCE = 100
#: All looks share one rate of reads. With more of them at once each would only take longer.
_WORKSPACES_AT_ONCE = 4

_USED_UP = ItemError(
    code="attempts-used-up",
    message="The vendor has no such package, and the attempts or the time for them are used up.",
    retryable=True,
    vendor=None,
)

log = structlog.get_logger()


async def reconcile_once(deps: WorkerDeps) -> int:
    """Look once for batches in doubt that are due, in one workspace; returns how many there were.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; the next round will do it.
    """
    doubts = await deps.database.transact(
        lambda connection: reconciling.lend_doubts(connection, workspaces=1, limit=_MOST_AT_ONCE, loan=LOAN)
    )
    if doubts:
        with (
            keeping(deps, {doubt.batch_id: doubt.epoch for doubt in doubts}),
            await over_doubts(deps, doubts),
        ):
            await reconcile_workspace(deps, doubts)
    return len(doubts)


async def reconcile_workspace(deps: WorkerDeps, doubts: Sequence[Doubt]) -> None:
    """Settle the doubts of a workspace by its packages, and what they leave open by its pending items.

    In this order: an item that is packaged between the two reads is seen as packaged, not as free. Each list is read
    once for all doubts, and the long one only where it is needed.
    """
    packages = await read_packages(deps, doubts)
    left = [doubt for doubt in doubts if not await settle_by_packages(deps, doubt, packages)]
    if not left or isinstance(packages, Unreadable):
        return
    pending = await read_pending(deps, left)
    for doubt in left:
        await settle_doubt(deps, doubt, look_at_items(doubt, pending, is_complete=packages.is_complete))


async def settle_by_packages(
    deps: WorkerDeps, doubt: Doubt, packages: Listing[ReleasePackage] | Unreadable
) -> bool:
    """Settle a doubt by the packages of its name; False where there is none, so that its items have to be asked for."""
    look = await look_for_package(deps, doubt, packages)
    if look is None:
        return False
    await settle_doubt(deps, doubt, look)
    return True


async def settle_doubt(deps: WorkerDeps, doubt: Doubt, look: Look) -> None:
    """Write what a look leads to: the end of the doubt, or another look."""
    with structlog.contextvars.bound_contextvars(batch_id=str(doubt.batch_id), workspace=doubt.workspace):
        await _settle_doubt(deps, doubt, look)


async def _settle_doubt(deps: WorkerDeps, doubt: Doubt, look: Look) -> None:
    evidence = with_look(doubt.evidence, look, now=doubt.now)
    standing = Standing(
        absent_for=doubt.absent_for,
        in_doubt_for=doubt.in_doubt_for,
        has_attempts_left=has_attempts_left(doubt, deps.settings.retry_policy),
        was_refused=doubt.was_refused,
    )
    decision = decide(look, standing, policy=deps.settings.reconcile_policy)
    if isinstance(decision, LookAgain):
        async with deps.database.connection() as connection:
            await reconciling.keep_look(connection, doubt, evidence=evidence, delay=decision.delay)
    else:
        await conclude(deps, doubt, decision, evidence)


def has_attempts_left(doubt: Doubt, policy: RetryPolicy) -> bool:
    """Tell whether a batch may be sent again: not too often, and not when it is too old."""
    return policy.at_age(doubt.now - doubt.created_at).may_try_again(doubt.counted_attempts)


async def conclude(
    deps: WorkerDeps,
    doubt: Doubt,
    decision: Release | Resend | Fail | Reject | GiveUp,
    evidence: Mapping[str, Any],
) -> None:
    """End a doubt, unless somebody else has meanwhile."""
    conclusion = conclusion_of(decision, doubt)
    detail: dict[str, object] = {
        "outcome": conclusion.batch_state.value,
        "error": error_json(conclusion.error),
    }

    async def work(connection: Connection) -> list[UUID] | None:
        if not await reconciling.conclude_doubt(connection, doubt, conclusion=conclusion, evidence=evidence):
            return None
        return await progress.follow_batches(
            connection, [doubt.batch_id], attempt=doubt.attempt_number, detail=detail
        )

    request_ids = await deps.database.transact(work)
    if request_ids is None:
        return
    _log(decision)
    deps.metrics.count_reconciled(word_for(decision))
    deps.changes.tell(request_ids)
    if isinstance(decision, Release):
        place = Asking(batch_key=doubt.batch_key, project_id=doubt.project_id, workspace=doubt.workspace)
        await vouch_for_vendor(deps, place)
    if isinstance(decision, Resend | Reject):
        await ring_now(deps.doorbells, doubt.batch_key)


def conclusion_of(decision: Release | Resend | Fail | Reject | GiveUp, doubt: Doubt) -> Conclusion:
    """Say where a decision takes the batch and its items."""
    match decision:
        case Release(release_package_id=package_id):
            return Conclusion(
                batch_state=BatchState.RELEASED, item_state=ItemState.RELEASED, release_package_id=package_id
            )
        case Resend():
            return Conclusion(batch_state=BatchState.SEALED, item_state=ItemState.BATCHED)
        case Fail():
            error = replace(_USED_UP, vendor=doubt.last_words)
            return Conclusion(batch_state=BatchState.FAILED, item_state=ItemState.FAILED, error=error)
        case Reject():
            return _refusal_of(doubt)
        case GiveUp(reason=reason):
            error = ItemError(code="in-doubt", message=reason, retryable=False, vendor=doubt.last_words)
            return Conclusion(
                batch_state=BatchState.NEEDS_ATTENTION, item_state=ItemState.NEEDS_ATTENTION, error=error
            )
        case _:
            assert_never(decision)


def word_for(decision: Release | Resend | Fail | Reject | GiveUp) -> str:
    """Name in a word what ended a doubt."""
    match decision:
        case Release():
            return "found"
        case Resend():
            return "resent"
        case Fail():
            return "failed"
        case Reject():
            return "rejected"
        case GiveUp():
            return "needs_attention"
        case _:
            assert_never(decision)


def _refusal_of(doubt: Doubt) -> Conclusion:
    """Say where the last no takes a batch: to its end, or to a split where one of several items may be at fault."""
    no = doubt.last_words or NO_WORDS
    if len(doubt.pending_item_ids) > 1 and may_be_an_item(no):
        return Conclusion(batch_state=BatchState.REFUSED, item_state=ItemState.BATCHED, error=rejection(no))
    return Conclusion(batch_state=BatchState.REJECTED, item_state=ItemState.REJECTED, error=rejection(no))


def _log(decision: Release | Resend | Fail | Reject | GiveUp) -> None:
    match decision:
        case Release(release_package_id=package_id):
            log.info(LogEvent.PACKAGE_FOUND, release_package_id=package_id)
        case Resend() | Fail() | Reject():
            log.info(LogEvent.ABSENCE_PROVED)
        case GiveUp(reason=reason):
            log.warning(LogEvent.DOUBT_ESCALATED, reason=reason)
        case _:
            assert_never(decision)


async def run_reconciles(deps: WorkerDeps) -> None:
    """Reconcile until cancelled, in a few workspaces at a time: one whose lists are long keeps no other waiting."""
    await asyncio.gather(*(_run_looks(deps) for _ in range(_WORKSPACES_AT_ONCE)))


async def _run_looks(deps: WorkerDeps) -> None:
    """Look again and again; a round that fails is only the next one's reason, and the first of several is said."""
    period = min(deps.settings.sweep_period, deps.settings.recheck / 2)
    is_away = False
    while True:
        found = 0
        try:
            found = await reconcile_once(deps)
            is_away = False
        except Unavailable as error:
            if not is_away:
                log.warning(LogEvent.RECONCILE_FAILED, reason=str(error))
            is_away = True
        except Exception:
            log.exception(LogEvent.RECONCILE_FAILED)
        if not found:
            await asyncio.sleep(period.total_seconds())
