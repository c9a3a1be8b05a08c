"""How long after its claim a call may be written, and when none can be under way any more."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.core.config import Settings
from service.core.leasing import LeaseTimes

SECONDS = st.integers(1, 7_200_000).map(lambda milliseconds: milliseconds / 1000)


def times(*, lease: float, call: float) -> tuple[float, float]:
    """Return until when is written, and when all is quiet, in seconds."""
    of = LeaseTimes.of(
        Settings(
            lease=timedelta(seconds=lease), call_timeout=timedelta(seconds=call), grace=timedelta(hours=5)
        )
    )
    return of.writes_until.total_seconds(), of.is_quiet_after.total_seconds()


def test_a_call_that_is_written_ends_with_the_lease() -> None:
    """With the settings that are given out, the last moment for a write is a call timeout before the lease's end."""
    assert times(lease=45, call=30) == (15, 45)


def test_a_lease_that_is_hardly_longer_than_a_call_leaves_two_seconds_for_the_way() -> None:
    """A call may then outlast its lease, and is waited for."""
    assert times(lease=8, call=7) == (2, 9)


@given(call=SECONDS, longer=SECONDS)
def test_when_all_is_quiet_no_call_is_under_way(call: float, longer: float) -> None:
    """It is never before the end of the lease, and two seconds after it at most."""
    lease = call + longer
    writes_until, is_quiet_after = times(lease=lease, call=call)

    assert 0 < writes_until <= lease + 1e-5
    assert abs(writes_until + call - is_quiet_after) < 1e-5
    assert lease - 1e-5 <= is_quiet_after <= lease + 2 + 1e-5
