"""The rules of the service as the model asks them: its own functions, each remembered by the few things it depends on.

Nothing is decided here. A rule that changes in the service changes the model, over all interleavings.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from uuid import UUID

from service.core.backoff import Backoff
from service.core.outcomes import (
    NO_WORDS,
    InDoubt,
    NotSent,
    NotSentCause,
    Outcome,
    Rejected,
    Released,
    Throttled,
    ThrottleScope,
    VendorError,
)
from service.core.reconciling import (
    ListedPackage,
    Look,
    LookAgain,
    ReconcilePolicy,
    Sought,
    Standing,
    Unreadable,
    decide,
    judge_look,
    with_look,
)
from service.core.refusal import ListedItem, Split, explain, plan_split
from service.core.verdict import RetryPolicy, Verdict, judge
from service.flow.reconcile import conclusion_of, has_attempts_left
from service.gateways.store.reconciling import Doubt
from tests.protocol.world import IN_DOUBT, Answer, Batch, Variant, Wait

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECHECK = timedelta(seconds=10)
#: Rechecks for which absence is seen before it ends a request.
PATIENCE = 2
SETTLE = timedelta(seconds=60)
BUDGET = timedelta(hours=1)
APPLICANT = "ann"
UNREADABLE = Unreadable(reason="the vendor did not answer")
#: The vendor says the same of an item that it never takes and of one that is packaged.
NO = VendorError(
    status=400, error_code="DLF.3051", error_msg="The request parameter is invalid.", request_id=None
)
OUTCOMES: dict[Answer, Outcome] = {
    Answer.YES: Released(release_package_id="1", request_id=None),
    Answer.NO: Rejected(error=NO, may_be_an_item=True),
    Answer.UNKNOWN: InDoubt(reason="no answer", error=NO_WORDS),
    Answer.THROTTLED: Throttled(error=NO_WORDS, retry_after=None, scope=ThrottleScope.OPERATION),
    Answer.NO_CONNECTION: NotSent(cause=NotSentCause.UNREACHABLE, error=NO_WORDS),
    Answer.TOO_LATE: NotSent(cause=NotSentCause.LEASE_LOST, error=NO_WORDS),
}


class Looked(NamedTuple):
    """Where a look leaves a batch."""

    state: str
    wait: Wait = Wait.NOTHING
    absent: int = 0


def retries(most_tries: int) -> RetryPolicy:
    """Return the service's policy for so many tries."""
    return RetryPolicy(
        max_attempts=most_tries,
        backoff=Backoff(base=timedelta(seconds=1), cap=timedelta(seconds=1)),
        authentication_pause=timedelta(minutes=1),
        settle=SETTLE,
    )


@cache
def after_call(answer: Answer, *, tries: int, items: int, was_in_doubt: bool, most_tries: int) -> Verdict:
    """Ask what an answer means for a batch of so many items."""
    return judge(
        OUTCOMES[answer],
        counted_attempts=tries,
        policy=retries(most_tries),
        items=items,
        was_in_doubt=was_in_doubt,
    )


@cache
def look_at(items: str, *, packages: int, packaged: str) -> Look:
    """Ask what the lists prove that show so many packages of a batch, and these of its items as packaged."""
    sought = Sought(package_name="ours", apply_user_id=APPLICANT, pending_item_ids=frozenset(items))
    one = ListedPackage(package_id="1", apply_user_id=APPLICANT, pending_item_ids=frozenset(items))
    named = [replace(one, package_id=str(number)) for number in range(packages)]
    return judge_look(
        sought, named=named, is_packaged={item: item in packaged for item in items}, is_complete=True
    )


@cache
def after_look(batch: Batch, look: Look, variant: Variant, *, is_over: bool) -> Looked:
    """Ask what a look leads to, within the time for doubts or when it is over."""
    doubt = _doubt_of(batch, variant, is_over=is_over)
    standing = Standing(
        absent_for=doubt.absent_for,
        in_doubt_for=doubt.in_doubt_for,
        has_attempts_left=has_attempts_left(doubt, retries(variant.most_tries)),
        was_refused=doubt.was_refused,
    )
    policy = ReconcilePolicy(
        recheck=RECHECK,
        patience=PATIENCE * RECHECK if variant.has_patience else timedelta(0),
        budget=BUDGET,
        is_resent=not variant.is_park,
    )
    decision = decide(look, standing, policy=policy)
    if isinstance(decision, LookAgain):
        is_absent = with_look(doubt.evidence, look, now=NOW)["absent_since"] is not None
        absent = min(batch.absent + 1, PATIENCE) if is_absent else 0
        return Looked(state=IN_DOUBT, wait=wait_of(decision.delay), absent=absent)
    return Looked(state=conclusion_of(decision, doubt).batch_state.value)


def wait_of(delay: timedelta | None) -> Wait:
    """Return the wait of the model that a delay of the service amounts to."""
    if delay is None or delay < RECHECK:
        return Wait.NOTHING
    return Wait.RECHECK if delay < SETTLE else Wait.SETTLE


def _doubt_of(batch: Batch, variant: Variant, *, is_over: bool) -> Doubt:
    absent_for = (batch.absent + (not variant.has_second_look)) * RECHECK
    return Doubt(
        batch_id=UUID(int=0),
        epoch=batch.epoch,
        project_id="p",
        workspace="w",
        apply_user_id=APPLICANT,
        package_name="ours",
        batch_key=UUID(int=0),
        counted_attempts=batch.tries,
        created_at=NOW,
        pending_item_ids=frozenset(batch.items),
        siblings=frozenset(),
        attempt_number=1,
        in_doubt_since=NOW - (BUDGET if is_over else SETTLE),
        was_refused=batch.was_refused,
        last_words=NO if batch.was_refused else None,
        evidence={"absent_since": (NOW - absent_for).isoformat()} if absent_for else {},
        now=NOW,
    )


@cache
def parts_of(items: str, *, packaged: str, was_in_doubt: bool = False) -> Split:
    """Ask how a refused batch is parted, with a list that shows these of its items as packaged."""
    listed = {item: ListedItem(is_packaged=item in packaged, submit_user_id=APPLICANT) for item in items}
    bad = explain(tuple(items), listed, apply_user_id=APPLICANT, may_be_ours=was_in_doubt)
    return plan_split(tuple(items), bad=bad)
