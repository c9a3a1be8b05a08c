"""When a window closes, and what the batch is called."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.core.batch_key import BatchKey
from service.core.ids import new_id
from service.core.model import ClosedBy
from service.core.planning import (
    CLOSING_MARGIN,
    VENDOR_MAX_ITEMS,
    Close,
    KeepOpen,
    Waiting,
    Window,
    decide_window,
    package_name,
    share_of_overtaken,
)
from service.flow.batch import plan_batch
from service.gateways.store.claiming import Claimed, ClaimedItem

START = datetime(2026, 5, 13, 3, 21, tzinfo=UTC)
WINDOW = Window(max_items=100, quiet=timedelta(seconds=0.2), linger=timedelta(seconds=2))
LATER = timedelta(days=30)

spans = st.integers(0, 5_000_000).map(lambda microseconds: timedelta(microseconds=microseconds))
windows = st.builds(Window, max_items=st.integers(1, VENDOR_MAX_ITEMS), quiet=spans, linger=spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An item that comes for a key at a time."""

    key: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A batch that was closed at a time."""

    key: str
    at: datetime
    closed_by: ClosedBy
    arrivals: tuple[Arrival, ...]


@st.composite
def waitings(draw: st.DrawFn) -> Waiting:
    """Anything that may wait under a key."""
    oldest = START + draw(spans)
    return Waiting(
        count=draw(st.integers(1, VENDOR_MAX_ITEMS)),
        oldest=oldest,
        newest=oldest + draw(spans),
        nearest_deadline=draw(st.none() | spans.map(lambda span: START + span)),
    )


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Items of three keys in the order in which they come."""
    drawn = draw(st.lists(st.tuples(st.sampled_from("abc"), spans), min_size=1, max_size=60))
    return sorted((Arrival(key=key, at=START + at) for key, at in drawn), key=lambda arrival: arrival.at)


def waiting_of(items: Sequence[Arrival]) -> Waiting:
    return Waiting(
        count=len(items),
        oldest=min(item.at for item in items),
        newest=max(item.at for item in items),
        nearest_deadline=None,
    )


def simulate(items: Sequence[Arrival], window: Window) -> Iterator[Left]:
    """Look at a key whenever an item comes and whenever the last look said to; yield the batches that leave."""
    for key in {item.key for item in items}:
        coming = [item for item in items if item.key == key]
        waiting: list[Arrival] = []
        now = coming[0].at
        while coming or waiting:
            while coming and coming[0].at <= now and len(waiting) < window.max_items:
                waiting.append(coming.pop(0))
            if not waiting:
                now = coming[0].at
                continue
            match decide_window(waiting_of(waiting), window, now=now):
                case Close(closed_by=closed_by):
                    yield Left(key=key, at=now, closed_by=closed_by, arrivals=tuple(waiting))
                    waiting.clear()
                case KeepOpen(until=until):
                    now = min([until, *(item.at for item in coming[:1])])


@given(waiting=waitings(), window=windows, age=spans, excess=st.integers(0, 100))
def test_a_full_batch_leaves_at_once(waiting: Waiting, window: Window, age: timedelta, excess: int) -> None:
    """What fills a batch waits for nothing."""
    waiting = replace(waiting, count=window.max_items + excess)

    assert Close(closed_by=ClosedBy.SIZE) == decide_window(waiting, window, now=waiting.newest + age)


@given(waiting=waitings(), window=windows, age=spans)
def test_no_window_is_open_longer_than_quiet_or_linger(
    waiting: Waiting, window: Window, age: timedelta
) -> None:
    """A window still open has had a newcomer within the quiet time and is younger than linger."""
    now = waiting.newest + age

    match decide_window(waiting, window, now=now):
        case KeepOpen(until=until):
            assert now < until
            assert until <= waiting.newest + window.quiet
            assert until <= waiting.oldest + window.linger
        case Close():
            pass


@given(waiting=waitings(), window=windows, age=spans)
def test_the_time_of_closing_is_exact(waiting: Waiting, window: Window, age: timedelta) -> None:
    """If nothing else comes, the window closes at the time that was told and not a moment before."""
    decision = decide_window(waiting, window, now=waiting.newest + age)
    if isinstance(decision, Close):
        return
    before = decision.until - timedelta(microseconds=1)

    assert isinstance(decide_window(waiting, window, now=decision.until), Close)
    assert decision == decide_window(waiting, window, now=before)


@given(waiting=waitings(), window=windows, age=spans)
def test_the_call_of_an_open_window_falls_before_its_deadline(
    waiting: Waiting, window: Window, age: timedelta
) -> None:
    """A window with a deadline is open only while more than a margin is left until then."""
    now = waiting.newest + age
    is_open = isinstance(decide_window(waiting, window, now=now), KeepOpen)

    if is_open and waiting.nearest_deadline is not None:
        assert waiting.nearest_deadline - now > CLOSING_MARGIN


@pytest.mark.parametrize(
    ("waiting", "age", "closed_by"),
    [
        (Waiting(count=1, oldest=START, newest=START, nearest_deadline=None), 0.2, ClosedBy.QUIET),
        (
            Waiting(
                count=9, oldest=START, newest=START + timedelta(seconds=1.84), nearest_deadline=START + LATER
            ),
            1.85,
            ClosedBy.LINGER,
        ),
        (
            Waiting(count=2, oldest=START, newest=START, nearest_deadline=START + timedelta(seconds=0.3)),
            0.0,
            ClosedBy.DEADLINE,
        ),
        (Waiting(count=100, oldest=START, newest=START, nearest_deadline=None), 0.0, ClosedBy.SIZE),
        (
            Waiting(count=9, oldest=START, newest=START, nearest_deadline=None, flushed_at=START),
            0.1,
            ClosedBy.FLUSH,
        ),
        (
            Waiting(count=9, oldest=START, newest=START, nearest_deadline=None, flushed_at=START + LATER),
            0.3,
            ClosedBy.QUIET,
        ),
    ],
    ids=["quiet", "linger", "deadline", "size", "flush", "quiet before a flush"],
)
def test_a_closed_window_says_why(waiting: Waiting, age: float, closed_by: ClosedBy) -> None:
    """Each of the rules closes a window under its own name."""
    assert Close(closed_by=closed_by) == decide_window(waiting, WINDOW, now=START + timedelta(seconds=age))


def test_a_flush_closes_no_window_over_what_came_later() -> None:
    """Only what was due when somebody flushed leaves at once."""
    flushed_at = START - timedelta(microseconds=1)
    waiting = Waiting(count=9, oldest=START, newest=START, nearest_deadline=None, flushed_at=flushed_at)

    assert isinstance(decide_window(waiting, WINDOW, now=START), KeepOpen)


def test_a_call_at_the_end_of_linger_still_falls_inside_it() -> None:
    """The window closes a margin before its linger is over."""
    waiting = Waiting(count=9, oldest=START, newest=START + timedelta(seconds=1.9), nearest_deadline=None)

    assert isinstance(decide_window(waiting, WINDOW, now=START + WINDOW.linger - CLOSING_MARGIN), Close)


@given(items=arrivals(), window=windows)
def test_every_item_leaves_once_and_in_time(items: list[Arrival], window: Window) -> None:
    """Whatever comes when: each item leaves once, in a batch of its key that is not too big, within linger."""
    left = list(simulate(items, window))

    assert sorted(map(repr, items)) == sorted(repr(item) for batch in left for item in batch.arrivals)
    assert all(len(batch.arrivals) <= window.max_items for batch in left)
    assert all({batch.key} == {item.key for item in batch.arrivals} for batch in left)
    assert all(batch.at - item.at <= window.linger for batch in left for item in batch.arrivals)


@given(quiet=spans, max_items=st.integers(2, VENDOR_MAX_ITEMS), more=spans)
def test_a_lone_item_leaves_after_the_quiet_time(quiet: timedelta, max_items: int, more: timedelta) -> None:
    """Nobody waits for company that does not come."""
    window = Window(max_items=max_items, quiet=quiet, linger=2 * quiet + more)
    (left,) = simulate([Arrival(key="a", at=START)], window)

    assert (window.quiet, ClosedBy.QUIET) == (left.at - START, left.closed_by)


@given(batch_id=st.uuids() | st.builds(new_id), workspace=st.text(max_size=200))
@example(batch_id=UUID(int=0), workspace="w" * 200)
def test_a_name_of_ours_is_one_that_the_vendor_takes(batch_id: UUID, workspace: str) -> None:
    """Whatever the workspace is called, the name has plain characters, a letter first, and ends in the id."""
    name = package_name(batch_id, workspace=workspace, chosen=None)

    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,127}", name)
    assert name.endswith(batch_id.hex)


@given(batch_id=st.uuids(), workspace=st.text(), chosen=st.text(min_size=1))
def test_the_name_of_a_caller_is_left_as_it_is(batch_id: UUID, workspace: str, chosen: str) -> None:
    """A caller who names a package finds it under that name."""
    assert chosen == package_name(batch_id, workspace=workspace, chosen=chosen)


@pytest.mark.parametrize("chosen", [None, "spring-release"])
def test_a_planned_batch_carries_what_was_claimed(chosen: str | None) -> None:
    """A plan keeps the key and the order of the items, and starts with the first attempt of the first claim."""
    key = BatchKey.of(
        project_id="p", workspace="w", apply_user_id="u", approver_ids=["b", "a"], package_name=chosen
    )
    items = tuple(
        ClaimedItem(item_id=number, request_id=new_id(), pending_item_id=str(90 - number))
        for number in range(3)
    )
    batch_id = new_id()
    batch = plan_batch(batch_id, Claimed(key=key, traceparent="00-1-2-00", items=items))

    assert (batch_id, key, ("90", "89", "88"), "00-1-2-00") == (
        batch.batch_id,
        batch.key,
        batch.pending_item_ids,
        batch.traceparent,
    )
    assert (batch.epoch, batch.attempt_number, batch.counted_attempts) == (1, 1, 0)
    assert batch.package_name == (chosen or package_name(batch_id, workspace="w", chosen=None))


@pytest.mark.parametrize("max_items", range(1, VENDOR_MAX_ITEMS + 1))
def test_a_batch_has_places_for_the_urgent_and_for_the_overtaken(max_items: int) -> None:
    """Half of them are for those who were overtaken for long; where there is one place, they take turns."""
    shares = [share_of_overtaken(max_items, is_their_turn=is_their_turn) for is_their_turn in (False, True)]

    assert shares == ([0, 1] if max_items == 1 else [max_items // 2] * 2)
