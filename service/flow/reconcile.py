"""Turns doubt into certainty by asking the vendor's lists.

Takes: batches in doubt, once no call for them can still be under way.
Leaves: a released batch, one that may be sent again under the same name, or one that needs an operator; and on the
attempt, what the looks saw.
If it dies here: the loan of the batch ends and the next reconcile looks again.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, assert_never
from uuid import UUID

import structlog

from service.core.errors import Unavailable
from service.core.model import BatchState, ItemError, ItemState
from service.core.outcomes import NO_WORDS
from service.core.reconciling import (
    Fail,
    GiveUp,
    ListedPackage,
    Look,
    LookAgain,
    Reject,
    Release,
    Resend,
    Sought,
    Standing,
    Unreadable,
    common_part,
    decide,
    judge_look,
    with_look,
)
from service.core.telemetry import LogEvent
from service.core.verdict import RetryPolicy, rejection
from service.deps import WorkerDeps
from service.flow.announce import announce
from service.flow.breakers import vouch_for_vendor
from service.flow.ring import ring_now
from service.flow.vendor_lists import WorkspaceLists, read_lists, read_package, reader_of
from service.gateways.limits import Asking
from service.gateways.store import progress, reconciling
from service.gateways.store.batches import error_json
from service.gateways.store.database import Connection
from service.gateways.store.reconciling import Conclusion, Doubt
from service.gateways.vendor.classify import may_be_an_item

_MOST_AT_ONCE = 100
#: All looks share one rate of reads. With more of them at once each would take longer than its loan, for nothing.
_WORKSPACES_AT_ONCE = 4
#: What a look may take besides one read of a list; then another worker may look, and this one's look is lost.
_AROUND_A_READ = timedelta(seconds=5)

_USED_UP = ItemError(
    code="attempts-used-up",
    message="The vendor has no such package, and the attempts or the time for them are used up.",
    retryable=True,
    vendor=None,
)

log = structlog.get_logger()


async def reconcile_once(deps: WorkerDeps) -> int:
    """Look once for batches in doubt that are due, in a few workspaces; returns how many there were.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; the next round will do it.
    """
    loan = deps.settings.call_timeout + _AROUND_A_READ
    ends_at = time.monotonic() + loan.total_seconds()
    doubts = await deps.database.transact(
        lambda connection: reconciling.lend_doubts(
            connection, workspaces=_WORKSPACES_AT_ONCE, limit=_MOST_AT_ONCE, loan=loan
        )
    )
    by_workspace: defaultdict[tuple[str, str], list[Doubt]] = defaultdict(list)
    for doubt in doubts:
        by_workspace[doubt.project_id, doubt.workspace].append(doubt)
    results = await asyncio.gather(
        *(reconcile_workspace(deps, group, ends_at=ends_at) for group in by_workspace.values()),
        return_exceptions=True,
    )
    for error in results:
        if error is not None:
            raise error
    return len(doubts)


async def reconcile_workspace(deps: WorkerDeps, doubts: Sequence[Doubt], *, ends_at: float) -> None:
    """Read the lists of a workspace once, and judge each of its doubts by them, as far as the loan lasts."""
    lists = await _read_lists(deps, doubts)
    for doubt in doubts:
        if time.monotonic() > ends_at:
            return
        with structlog.contextvars.bound_contextvars(batch_id=str(doubt.batch_id), workspace=doubt.workspace):
            await settle_doubt(deps, doubt, await look_for(deps, doubt, lists))


async def _read_lists(deps: WorkerDeps, doubts: Sequence[Doubt]) -> WorkspaceLists | Unreadable:
    place = reader_of(doubts[0].project_id, doubts[0].workspace)
    lists: WorkspaceLists | Unreadable
    try:
        lists = await read_lists(deps, place, key_word=common_part([doubt.package_name for doubt in doubts]))
    except Unavailable as error:
        lists = Unreadable(reason=str(error))
    if isinstance(lists, Unreadable):
        log.warning(LogEvent.READ_FAILED, workspace=place.workspace, doubts=len(doubts), reason=lists.reason)
    return lists


async def look_for(deps: WorkerDeps, doubt: Doubt, lists: WorkspaceLists | Unreadable) -> Look:
    """Judge one doubt by the lists, and by the contents of the packages that have its name and are not known."""
    if isinstance(lists, Unreadable):
        return lists
    named: list[ListedPackage] = []
    for package in lists.packages:
        if package.package_name == doubt.package_name and package.package_id not in doubt.siblings:
            contents = await _read_contents(deps, doubt, package.package_id)
            if isinstance(contents, Unreadable):
                log.warning(
                    LogEvent.READ_FAILED, release_package_id=package.package_id, reason=contents.reason
                )
                return contents
            named.append(contents)
    is_packaged = {item_id: item.is_packaged for item_id, item in lists.items.items()}
    return judge_look(_sought(doubt), named=named, is_packaged=is_packaged, is_complete=lists.is_complete)


async def _read_contents(deps: WorkerDeps, doubt: Doubt, package_id: str) -> ListedPackage | Unreadable:
    try:
        detail = await read_package(deps, reader_of(doubt.project_id, doubt.workspace), package_id)
    except Unavailable as error:
        return Unreadable(reason=str(error))
    if isinstance(detail, Unreadable):
        return detail
    return ListedPackage(
        package_id=package_id,
        apply_user_id=detail.package.apply_user_id,
        pending_item_ids=detail.pending_item_ids,
    )


def _sought(doubt: Doubt) -> Sought:
    return Sought(
        package_name=doubt.package_name,
        apply_user_id=doubt.apply_user_id,
        pending_item_ids=doubt.pending_item_ids,
    )


async def settle_doubt(deps: WorkerDeps, doubt: Doubt, look: Look) -> None:
    """Write what a look leads to: the end of the doubt, or another look."""
    evidence = with_look(doubt.evidence, look, now=doubt.now)
    standing = Standing(
        absent_for=doubt.absent_for,
        in_doubt_for=doubt.in_doubt_for,
        has_attempts_left=has_attempts_left(doubt, deps.settings.retry_policy),
        was_refused=doubt.refusal is not None,
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
    await announce(deps, request_ids)
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
            return Conclusion(batch_state=BatchState.FAILED, item_state=ItemState.FAILED, error=_USED_UP)
        case Reject():
            return _refusal_of(doubt)
        case GiveUp(reason=reason):
            error = ItemError(code="in-doubt", message=reason, retryable=False, vendor=None)
            return Conclusion(
                batch_state=BatchState.NEEDS_ATTENTION, item_state=ItemState.NEEDS_ATTENTION, error=error
            )
        case _:
            assert_never(decision)


def _refusal_of(doubt: Doubt) -> Conclusion:
    """Say where the last no takes a batch: to its end, or to a split where one of several items may be at fault."""
    no = doubt.refusal or NO_WORDS
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
    """Reconcile again and again until cancelled; a round that fails is only the next one's reason."""
    period = min(deps.settings.sweep_period, deps.settings.recheck / 2)
    while True:
        found = 0
        try:
            found = await reconcile_once(deps)
        except Unavailable as error:
            log.warning(LogEvent.RECONCILE_FAILED, reason=str(error))
        except Exception:
            log.exception(LogEvent.RECONCILE_FAILED)
        if not found:
            await asyncio.sleep(period.total_seconds())
