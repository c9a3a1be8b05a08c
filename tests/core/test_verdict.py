"""What each outcome of a call means for the batch."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.core.backoff import THROTTLE_PAUSE, Backoff, throttle_pause
from service.core.model import AttemptOutcome, BatchState, ItemState, WaitReason
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
from service.core.verdict import RetryPolicy, judge

ERROR = VendorError(status=400, error_code="DLF.3051", error_msg="The item is gone.", request_id="r-1")
WORDLESS = VendorError(status=None, error_code=None, error_msg=None, request_id=None)
POLICY = RetryPolicy(
    max_attempts=3,
    backoff=Backoff(base=timedelta(seconds=1), cap=timedelta(seconds=300)),
    settle=timedelta(seconds=60),
    authentication_pause=timedelta(seconds=60),
)
SECOND = timedelta(seconds=1)
COSTS_NOTHING = {
    NotSentCause.AUTHENTICATION,
    NotSentCause.TOKEN,
    NotSentCause.LEASE_LOST,
    NotSentCause.HELD,
}

errors = st.builds(
    VendorError,
    status=st.none() | st.integers(100, 599),
    error_code=st.none() | st.text(),
    error_msg=st.none() | st.text(),
    request_id=st.none() | st.text(),
)
outcomes = st.one_of(
    st.builds(Released, release_package_id=st.text(min_size=1), request_id=st.none() | st.text()),
    st.builds(Rejected, error=errors, may_be_an_item=st.booleans()),
    st.builds(
        Throttled,
        error=errors,
        retry_after=st.none() | st.timedeltas(timedelta(0), timedelta(hours=1)),
        scope=st.sampled_from(ThrottleScope),
    ),
    st.builds(NotSent, cause=st.sampled_from(NotSentCause), error=errors),
    st.builds(InDoubt, reason=st.text(), error=errors),
)
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 20),
    backoff=st.builds(
        Backoff,
        base=st.timedeltas(timedelta(milliseconds=1), timedelta(hours=1)),
        cap=st.timedeltas(timedelta(milliseconds=1), timedelta(hours=1)),
    ),
    settle=st.just(timedelta(seconds=60)),
    authentication_pause=st.just(timedelta(seconds=60)),
)


def throttled(scope: ThrottleScope) -> Throttled:
    return Throttled(error=ERROR, retry_after=SECOND, scope=scope)


def not_sent(cause: NotSentCause) -> NotSent:
    return NotSent(cause=cause, error=ERROR)


@pytest.mark.parametrize(
    ("outcome", "before", "state", "is_counted", "wait_reason"),
    [
        (Released(release_package_id="9", request_id=None), 0, BatchState.RELEASED, True, None),
        (Released(release_package_id="9", request_id=None), 99, BatchState.RELEASED, True, None),
        (Rejected(error=ERROR, may_be_an_item=True), 0, BatchState.REJECTED, True, None),
        (throttled(ThrottleScope.OPERATION), 0, BatchState.SEALED, False, WaitReason.RATE),
        (throttled(ThrottleScope.WORKSPACE), 99, BatchState.SEALED, False, WaitReason.WORKSPACE_RATE),
        (not_sent(NotSentCause.AUTHENTICATION), 99, BatchState.SEALED, False, WaitReason.BREAKER_OPEN),
        (not_sent(NotSentCause.TOKEN), 99, BatchState.SEALED, False, WaitReason.BACKOFF),
        (not_sent(NotSentCause.LEASE_LOST), 99, BatchState.SEALED, False, WaitReason.BACKOFF),
        (not_sent(NotSentCause.HELD), 99, BatchState.SEALED, False, WaitReason.BACKOFF),
        (not_sent(NotSentCause.UNREACHABLE), 0, BatchState.SEALED, True, WaitReason.BACKOFF),
        (not_sent(NotSentCause.UNREACHABLE), 1, BatchState.SEALED, True, WaitReason.BACKOFF),
        (not_sent(NotSentCause.UNREACHABLE), 2, BatchState.FAILED, True, None),
        (not_sent(NotSentCause.UNAVAILABLE), 1, BatchState.SEALED, True, WaitReason.BACKOFF),
        (not_sent(NotSentCause.UNAVAILABLE), 2, BatchState.FAILED, True, None),
        (InDoubt(reason="reset", error=ERROR), 0, BatchState.IN_DOUBT, True, WaitReason.RECONCILING),
        (InDoubt(reason="reset", error=ERROR), 99, BatchState.IN_DOUBT, True, WaitReason.RECONCILING),
    ],
)
def test_each_outcome_has_its_place(
    outcome: Outcome, before: int, state: BatchState, is_counted: bool, wait_reason: WaitReason | None
) -> None:
    """The table of outcomes: where the batch goes, whether the call counts, and what it waits for."""
    verdict = judge(outcome, counted_attempts=before, policy=POLICY, items=1)

    assert (state, is_counted, wait_reason) == (
        verdict.batch_state,
        verdict.is_counted,
        verdict.wait_reason,
    )


@pytest.mark.parametrize(
    ("items", "may_be_an_item", "state", "item_state"),
    [
        (1, True, BatchState.REJECTED, ItemState.REJECTED),
        (2, False, BatchState.REJECTED, ItemState.REJECTED),
        (2, True, BatchState.REFUSED, ItemState.BATCHED),
    ],
)
def test_a_no_to_several_items_is_looked_into_where_one_may_be_at_fault(
    items: int, may_be_an_item: bool, state: BatchState, item_state: ItemState
) -> None:
    """The only item is the bad one; a no to the call itself is everybody's."""
    no = Rejected(error=ERROR, may_be_an_item=may_be_an_item)
    verdict = judge(no, counted_attempts=0, policy=POLICY, items=items)

    assert (state, item_state) == (verdict.batch_state, verdict.item_state)


@given(outcome=outcomes, before=st.integers(0, 30), policy=policies)
def test_a_package_id_comes_from_a_release_alone(outcome: Outcome, before: int, policy: RetryPolicy) -> None:
    """Released, and nothing else, has a package id; it is the vendor's."""
    verdict = judge(outcome, counted_attempts=before, policy=policy, items=1)
    expected = outcome.release_package_id if isinstance(outcome, Released) else None

    assert expected == verdict.release_package_id
    assert (verdict.batch_state is BatchState.RELEASED) == isinstance(outcome, Released)
    assert (verdict.item_state is ItemState.RELEASED) == isinstance(outcome, Released)


@given(before=st.integers(0, 30), policy=policies, error=errors, reason=st.text())
def test_what_is_in_doubt_waits_for_the_lists(
    before: int, policy: RetryPolicy, error: VendorError, reason: str
) -> None:
    """Whatever was lost with the answer: the batch is looked up after the settle time, and no timer resends it."""
    verdict = judge(InDoubt(reason=reason, error=error), counted_attempts=before, policy=policy, items=1)

    assert (
        verdict.outcome,
        verdict.batch_state,
        verdict.item_state,
        verdict.delay,
    ) == (AttemptOutcome.IN_DOUBT, BatchState.IN_DOUBT, ItemState.IN_DOUBT, policy.settle)


@given(before=st.integers(0, 30), policy=policies, error=errors)
def test_a_no_after_a_doubt_is_not_taken_at_its_word(
    before: int, policy: RetryPolicy, error: VendorError
) -> None:
    """It may only mean that the earlier call worked, so the lists are asked before it counts."""
    verdict = judge(
        Rejected(error=error, may_be_an_item=True),
        counted_attempts=before,
        policy=policy,
        items=1,
        was_in_doubt=True,
    )

    assert (verdict.outcome, verdict.batch_state, verdict.delay) == (
        AttemptOutcome.REJECTED,
        BatchState.IN_DOUBT,
        policy.settle,
    )
    assert verdict.error is not None
    assert verdict.error.vendor == error


@given(outcome=outcomes, before=st.integers(0, 30), policy=policies)
@example(outcome=NotSent(cause=NotSentCause.UNREACHABLE, error=WORDLESS), before=2, policy=POLICY)
def test_a_last_call_that_was_not_sent_after_a_doubt_fails_nothing(
    outcome: Outcome, before: int, policy: RetryPolicy
) -> None:
    """The earlier call may have worked, so the lists are asked before anything has failed."""
    verdict = judge(outcome, counted_attempts=before, policy=policy, items=1, was_in_doubt=True)
    without_doubt = judge(outcome, counted_attempts=before, policy=policy, items=1)

    assert verdict.batch_state not in {BatchState.FAILED, BatchState.REJECTED, BatchState.REFUSED}
    if without_doubt.batch_state is BatchState.FAILED:
        assert (verdict.batch_state, verdict.outcome, verdict.is_counted) == (
            BatchState.IN_DOUBT,
            AttemptOutcome.NOT_SENT,
            True,
        )
        assert verdict.delay == policy.settle


@given(outcome=outcomes, before=st.integers(0, 30), policy=policies)
def test_only_a_batch_that_was_certainly_not_made_is_sent_again(
    outcome: Outcome, before: int, policy: RetryPolicy
) -> None:
    """A sealed batch has a time and a reason to wait for, and comes from a call without effect."""
    verdict = judge(outcome, counted_attempts=before, policy=policy, items=1)

    if verdict.batch_state is BatchState.SEALED:
        assert isinstance(outcome, Throttled | NotSent)
        assert verdict.wait_reason is not None
        assert verdict.delay is not None
        assert verdict.delay >= timedelta(0)
    elif verdict.batch_state is not BatchState.IN_DOUBT:
        assert verdict.delay is None


@given(outcome=outcomes, before=st.integers(0, 30), policy=policies)
def test_waiting_costs_no_attempt(outcome: Outcome, before: int, policy: RetryPolicy) -> None:
    """A throttle, a refused signature, a stale token, a lost lease and a pause are not failures of the batch."""
    verdict = judge(outcome, counted_attempts=before, policy=policy, items=1)
    is_free = isinstance(outcome, Throttled) or (
        isinstance(outcome, NotSent) and outcome.cause in COSTS_NOTHING
    )

    assert is_free != verdict.is_counted


@given(
    outcomes=st.lists(outcomes, min_size=1, max_size=60),
    policy=policies,
)
def test_attempts_never_exceed_the_maximum(outcomes: list[Outcome], policy: RetryPolicy) -> None:
    """Whatever the vendor does, a batch is settled after at most so many counted calls."""
    counted = 0
    for outcome in outcomes:
        verdict = judge(outcome, counted_attempts=counted, policy=policy, items=1)
        counted += verdict.is_counted

        assert counted <= policy.max_attempts
        if verdict.batch_state is not BatchState.SEALED:
            break


@given(outcome=outcomes, before=st.integers(0, 30), policy=policies)
def test_a_batch_that_is_not_released_keeps_the_vendors_words(
    outcome: Outcome, before: int, policy: RetryPolicy
) -> None:
    """Rejected, failed and in doubt say why, with a sentence and with the vendor's answer untouched."""
    verdict = judge(outcome, counted_attempts=before, policy=policy, items=1)

    if verdict.batch_state in {BatchState.REJECTED, BatchState.FAILED, BatchState.IN_DOUBT}:
        assert not isinstance(outcome, Released)
        assert verdict.error is not None
        assert verdict.error.vendor == outcome.error


def test_a_vendor_without_words_is_given_some() -> None:
    """A refusal without a text still reads as a sentence."""
    verdict = judge(Rejected(error=WORDLESS, may_be_an_item=True), counted_attempts=0, policy=POLICY, items=1)

    assert verdict.error is not None
    assert verdict.error.message == "The vendor refused the release."


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(hours=23), BatchState.SEALED),
        (timedelta(hours=24) - SECOND / 2, BatchState.FAILED),
        (timedelta(hours=24), BatchState.FAILED),
    ],
)
def test_a_failed_try_of_an_old_batch_was_its_last(age: timedelta, state: BatchState) -> None:
    """A failure ends the batch when its next try would be past the maximum age, whatever attempts are left."""
    policy = POLICY.at_age(age)
    verdict = judge(not_sent(NotSentCause.UNREACHABLE), counted_attempts=0, policy=policy, items=1)

    assert verdict.batch_state is state


def test_waiting_fails_no_batch_however_old() -> None:
    """A throttle, a refused signature and a doubt lead to the same as for a new batch."""
    policy = POLICY.at_age(timedelta(days=9))
    outcomes: list[Outcome] = [
        throttled(ThrottleScope.OPERATION),
        not_sent(NotSentCause.AUTHENTICATION),
        InDoubt(reason="reset", error=ERROR),
    ]
    states = [judge(outcome, counted_attempts=0, policy=policy, items=1).batch_state for outcome in outcomes]

    assert states == [BatchState.SEALED, BatchState.SEALED, BatchState.IN_DOUBT]


def test_a_refused_signature_stops_for_a_minute() -> None:
    """Five wrong signatures lock the vendor's key, so the next call is a pause away."""
    verdict = judge(not_sent(NotSentCause.AUTHENTICATION), counted_attempts=0, policy=POLICY, items=1)

    assert timedelta(seconds=60) == verdict.delay


backoffs = st.builds(
    Backoff,
    base=st.timedeltas(timedelta(milliseconds=1), timedelta(hours=1)),
    cap=st.timedeltas(timedelta(milliseconds=1), timedelta(days=1)),
)


@given(backoff=backoffs, tries=st.integers(-1, 10_000), share=st.floats(0, 1))
def test_a_backoff_is_never_longer_than_its_cap(backoff: Backoff, tries: int, share: float) -> None:
    """However often it failed, the wait lies between half a base (or half the cap) and the cap."""
    delay = backoff.delay(tries, uniform=lambda low, high: low + share * (high - low))
    shortest = min(backoff.base, backoff.cap) / 2

    assert shortest - timedelta(microseconds=2) <= delay
    assert delay <= backoff.cap + timedelta(microseconds=2)


def test_a_backoff_doubles_up_to_its_cap() -> None:
    """The longest waits after 1, 2, 3, … failures grow by two until the cap."""
    backoff = Backoff(base=timedelta(seconds=1), cap=timedelta(seconds=10))
    longest = [backoff.delay(tries, uniform=max).total_seconds() for tries in range(1, 7)]

    assert longest == [1, 2, 4, 8, 10, 10]


def test_the_pauses_of_a_failing_batch_grow_and_are_spread() -> None:
    """Until the cap no pause is shorter than the one before; batches that failed together come back apart."""
    policy = replace(POLICY, max_attempts=9)
    failure = not_sent(NotSentCause.UNREACHABLE)
    batches = [
        [judge(failure, counted_attempts=tries, policy=policy, items=1).delay for tries in range(8)]
        for _ in range(100)
    ]

    for pauses in batches:
        assert pauses == sorted(pause for pause in pauses if pause is not None)
    for pauses_after_so_many in zip(*batches, strict=True):
        assert len(set(pauses_after_so_many)) > 90


@given(retry_after=st.timedeltas(timedelta(0), timedelta(hours=1)))
def test_the_vendors_pause_is_obeyed(retry_after: timedelta) -> None:
    """Where the vendor says how long to wait, that is how long."""
    assert retry_after == throttle_pause(retry_after)


def test_a_pause_that_the_vendor_leaves_open_is_its_advice() -> None:
    """Without a Retry-After the scope rests 2 to 5 seconds, spread."""
    pauses = {throttle_pause(None) for _ in range(100)}

    assert min(pauses) >= THROTTLE_PAUSE[0]
    assert max(pauses) <= THROTTLE_PAUSE[1]
    assert len(pauses) > 90
