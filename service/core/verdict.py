"""What an outcome means for a batch and its items. Pure: the one place where retries are decided."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self, assert_never

from service.core.backoff import Backoff, throttle_pause
from service.core.model import AttemptOutcome, BatchState, ItemError, ItemState, WaitReason
from service.core.outcomes import (
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a batch may be tried, and how far apart."""

    max_attempts: int
    backoff: Backoff
    #: How long nothing is called after the vendor refused our signature.
    authentication_pause: timedelta
    #: How long after a call that is in doubt the vendor may still be carrying it out.
    settle: timedelta
    #: No batch that failed is tried again when it is so old.
    max_age: timedelta = timedelta(days=1)
    #: Of the batch in question.
    age: timedelta = timedelta(0)

    def at_age(self, age: timedelta) -> Self:
        """Return the policy for a batch of this age."""
        return replace(self, age=age)

    def may_try_again(self, tries: int, *, after: timedelta = timedelta(0)) -> bool:
        """Tell whether a batch that was tried so often may be tried once more, after that time."""
        return tries < self.max_attempts and self.age + after < self.max_age


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Where the batch and its items go after a call."""

    outcome: AttemptOutcome
    batch_state: BatchState
    item_state: ItemState
    #: Whether the call counts against the maximum; waiting does not.
    is_counted: bool
    release_package_id: str | None = None
    delay: timedelta | None = None
    wait_reason: WaitReason | None = None
    error: ItemError | None = None


def judge(
    outcome: Outcome,
    *,
    counted_attempts: int,
    policy: RetryPolicy,
    items: int,
    was_in_doubt: bool = False,
) -> Verdict:
    """Turn the outcome of a call for so many items into a verdict.

    ``counted_attempts`` are those before this call, ``was_in_doubt`` tells whether one of them was in doubt.
    """
    match outcome:
        case Released():
            return Verdict(
                outcome=AttemptOutcome.RELEASED,
                batch_state=BatchState.RELEASED,
                item_state=ItemState.RELEASED,
                is_counted=True,
                release_package_id=outcome.release_package_id,
            )
        case Rejected():
            return _doubted_no(outcome, policy) if was_in_doubt else _no(outcome, items)
        case Throttled():
            return _throttled(outcome)
        case NotSent():
            verdict = _not_sent(outcome, counted_attempts, policy)
            return _looked_up_first(verdict, policy) if was_in_doubt else verdict
        case InDoubt():
            return _in_doubt(outcome, policy)
        case _:
            assert_never(outcome)


def _no(outcome: Rejected, items: int) -> Verdict:
    if outcome.may_be_an_item and items > 1:
        return Verdict(
            outcome=AttemptOutcome.REJECTED,
            batch_state=BatchState.REFUSED,
            item_state=ItemState.BATCHED,
            is_counted=True,
            delay=timedelta(0),
            wait_reason=WaitReason.RECONCILING,
            error=rejection(outcome.error),
        )
    return Verdict(
        outcome=AttemptOutcome.REJECTED,
        batch_state=BatchState.REJECTED,
        item_state=ItemState.REJECTED,
        is_counted=True,
        error=rejection(outcome.error),
    )


def rejection(error: VendorError) -> ItemError:
    """Return the error of an item that the vendor refused."""
    message = error.error_msg or "The vendor refused the release."
    return ItemError(code="vendor-rejected", message=message, retryable=False, vendor=error)


def _doubted_no(outcome: Rejected, policy: RetryPolicy) -> Verdict:
    """A no after a call in doubt may mean "these items are packaged": by that earlier call. The lists tell."""
    message = "The vendor refused after an earlier call whose outcome is not known."
    return _doubt(AttemptOutcome.REJECTED, message, outcome.error, policy)


def _looked_up_first(verdict: Verdict, policy: RetryPolicy) -> Verdict:
    """Keep a batch whose last call was not sent from failing before it is certain that no earlier one worked."""
    if verdict.batch_state is not BatchState.FAILED or verdict.error is None:
        return verdict
    message = f"{verdict.error.message} An earlier call may have worked."
    return _doubt(verdict.outcome, message, verdict.error.vendor, policy)


def _throttled(outcome: Throttled) -> Verdict:
    is_wide = outcome.scope is ThrottleScope.OPERATION
    return _again(
        AttemptOutcome.THROTTLED,
        delay=throttle_pause(outcome.retry_after),
        wait_reason=WaitReason.RATE if is_wide else WaitReason.WORKSPACE_RATE,
    )


def _not_sent(outcome: NotSent, counted_attempts: int, policy: RetryPolicy) -> Verdict:
    match outcome.cause:
        case NotSentCause.AUTHENTICATION:
            return _again(
                AttemptOutcome.NOT_SENT,
                delay=policy.authentication_pause,
                wait_reason=WaitReason.BREAKER_OPEN,
                error=_item_error("vendor-authentication", outcome.error, is_retryable=True),
            )
        case NotSentCause.TOKEN | NotSentCause.LEASE_LOST | NotSentCause.HELD:
            return _again(
                AttemptOutcome.NOT_SENT, delay=policy.backoff.base / 2, wait_reason=WaitReason.BACKOFF
            )
        case NotSentCause.UNREACHABLE | NotSentCause.UNAVAILABLE:
            return _failed_try(outcome, counted_attempts + 1, policy)
        case _:
            assert_never(outcome.cause)


def _failed_try(outcome: NotSent, tries: int, policy: RetryPolicy) -> Verdict:
    error = _item_error(f"vendor-{outcome.cause.value}", outcome.error, is_retryable=True)
    delay = policy.backoff.delay(tries)
    if policy.may_try_again(tries, after=delay):
        return _again(
            AttemptOutcome.NOT_SENT,
            delay=delay,
            wait_reason=WaitReason.BACKOFF,
            error=error,
            is_counted=True,
        )
    return Verdict(
        outcome=AttemptOutcome.NOT_SENT,
        batch_state=BatchState.FAILED,
        item_state=ItemState.FAILED,
        is_counted=True,
        error=error,
    )


def _in_doubt(outcome: InDoubt, policy: RetryPolicy) -> Verdict:
    return _doubt(AttemptOutcome.IN_DOUBT, outcome.reason, outcome.error, policy)


def _doubt(outcome: AttemptOutcome, message: str, vendor: VendorError | None, policy: RetryPolicy) -> Verdict:
    return Verdict(
        outcome=outcome,
        batch_state=BatchState.IN_DOUBT,
        item_state=ItemState.IN_DOUBT,
        is_counted=True,
        delay=policy.settle,
        wait_reason=WaitReason.RECONCILING,
        error=ItemError(code="in-doubt", message=message, retryable=False, vendor=vendor),
    )


def _again(
    outcome: AttemptOutcome,
    *,
    delay: timedelta,
    wait_reason: WaitReason,
    error: ItemError | None = None,
    is_counted: bool = False,
) -> Verdict:
    return Verdict(
        outcome=outcome,
        batch_state=BatchState.SEALED,
        item_state=ItemState.BATCHED,
        is_counted=is_counted,
        delay=delay,
        wait_reason=wait_reason,
        error=error,
    )


def _item_error(code: str, error: VendorError, *, is_retryable: bool) -> ItemError:
    message = error.error_msg or "The vendor could not be called."
    return ItemError(code=code, message=message, retryable=is_retryable, vendor=error)
