"""The harness must be repeatable, and its checks must fail where they should."""

from collections import Counter

import pytest

from tests.chaos.checks import LONGEST_CALL, MOST_IN_A_SECOND, assert_calls_keep_the_limits
from tests.chaos.schedule import APIS, WORKERS, draw_tracks
from tests.chaos.world import CONCURRENCY
from tests.support.link import Passage


def test_a_seed_draws_the_same_faults_again() -> None:
    """A failing run can be run again; another seed is another run."""
    again, other = draw_tracks(7, 60.0, is_lax=False), draw_tracks(8, 60.0, is_lax=False)

    assert draw_tracks(7, 60.0, is_lax=False) == again
    assert again != other


def test_long_runs_meet_every_kind_of_fault() -> None:
    """In ten minutes each kind of fault befalls each target that it may, and all are over in time."""
    faults = [fault for track in draw_tracks(1, 600.0, is_lax=False) for fault in track]
    met = Counter(fault.target for fault in {(fault.kind, fault.target): fault for fault in faults}.values())

    assert met == {
        **dict.fromkeys(WORKERS, 4),
        **dict.fromkeys(APIS, 2),
        "postgres": 2 + 6,
        "redis": 6,
        "valkey": 3,
        "vendor": 6,
        "emulator": 1,
        "workspace": 2,
    }
    assert max(fault.at + fault.lasts for fault in faults) <= 600.0


def test_too_many_calls_in_a_second_are_noticed() -> None:
    """One call more than allowed within any second is one too many."""
    calls = [Passage(began=100.9 + 0.01 * n, ended=100.9 + 0.01 * n) for n in range(MOST_IN_A_SECOND + 1)]

    assert_calls_keep_the_limits(calls[1:])
    with pytest.raises(AssertionError, match="in a second"):
        assert_calls_keep_the_limits(calls)


def test_too_many_calls_at_once_are_noticed() -> None:
    """A call is under way until its connection ends, or its time is up."""
    long = [Passage(began=0.14 * n) for n in range(CONCURRENCY + 2)]
    short = [Passage(began=2.0 * n) for n in range(CONCURRENCY + 2)]

    assert long[-1].began < LONGEST_CALL
    assert_calls_keep_the_limits(short)
    with pytest.raises(AssertionError, match="at once"):
        assert_calls_keep_the_limits(long)
