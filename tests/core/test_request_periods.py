from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.core.ids import first_id_at, new_id, time_of_id
from service.core.request_periods import RequestPeriod, next_period, ranges_beside

DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 11, 29, tzinfo=UTC)
NOW = MIDNIGHT + timedelta(hours=13)


def period(start: datetime, length: timedelta) -> RequestPeriod:
    return RequestPeriod(name="x", from_id=first_id_at(start), to_id=first_id_at(start + length))


def test_an_id_tells_when_it_was_made() -> None:
    """Bounds lie below the ids of their millisecond and above those of the one before."""
    milliseconds = int(NOW.timestamp() * 1000)

    assert time_of_id(new_id(now_ms=milliseconds)) == NOW
    assert new_id(now_ms=milliseconds - 1) < first_id_at(NOW) <= new_id(now_ms=milliseconds)


@pytest.mark.parametrize(
    ("ends_at", "starts_at"),
    [
        (MIDNIGHT + 8 * DAY, None),
        (MIDNIGHT + 7 * DAY, MIDNIGHT + 7 * DAY),
        (MIDNIGHT, MIDNIGHT + DAY),
        (MIDNIGHT - 100 * DAY, MIDNIGHT + DAY),
        (None, MIDNIGHT + DAY),
    ],
    ids=["not yet", "within a week", "just now", "long ago", "never"],
)
def test_a_period_is_made_a_week_before_it_begins(
    ends_at: datetime | None, starts_at: datetime | None
) -> None:
    """It follows the last one; where that is over, today's ids are in none, and it begins tomorrow."""
    behind = None if ends_at is None else first_id_at(ends_at)
    made = next_period(behind, now=NOW, kept_for=30 * DAY)

    assert (None if made is None else time_of_id(made.from_id)) == starts_at


@pytest.mark.parametrize(
    ("kept_for", "length"),
    [(30 * DAY, 30 * DAY), (7.5 * DAY, 7 * DAY), (timedelta(seconds=1), DAY), (timedelta(0), 365 * DAY)],
)
def test_a_period_is_as_long_as_the_retention(kept_for: timedelta, length: timedelta) -> None:
    """In whole days, one at least."""
    made = next_period(None, now=NOW, kept_for=kept_for)

    assert made is not None
    assert (made.length, made.name) == (length, "20261130")


@pytest.mark.parametrize(
    ("length", "kept_for", "goes_whole"),
    [
        (11 * DAY, 30 * DAY, True),
        (30 * DAY, 30 * DAY, True),
        (31 * DAY, 30 * DAY, False),
        (DAY, timedelta(hours=12), False),
    ],
)
def test_what_ends_in_a_period_that_is_longer_than_the_retention_does_not_wait_for_its_end(
    length: timedelta, kept_for: timedelta, *, goes_whole: bool
) -> None:
    """Else it would be kept for more than twice as long."""
    assert period(MIDNIGHT, length).goes_whole(kept_for) is goes_whole


def test_what_is_in_no_period_lies_between_them() -> None:
    """Ranges end before the next period, and at the given id."""
    first, second, third = (period(MIDNIGHT + days * DAY, DAY) for days in (0, 1, 5))

    assert list(ranges_beside([first, second, third], up_to=first_id_at(MIDNIGHT + 3 * DAY))) == [
        (UUID(int=0), first.from_id),
        (first.to_id, second.from_id),
        (second.to_id, first_id_at(MIDNIGHT + 3 * DAY)),
    ]
