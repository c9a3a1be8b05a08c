"""What the last word of a worker says, and its silence since."""

from datetime import timedelta

import pytest

from service.core.worker_signs import SIGN_PERIOD, SILENT_AFTER, WorkerState, state_of


@pytest.mark.parametrize(
    ("is_draining", "silent_for", "state"),
    [
        (False, timedelta(0), WorkerState.RUNNING),
        (True, timedelta(0), WorkerState.DRAINING),
        (False, SILENT_AFTER - timedelta(milliseconds=1), WorkerState.RUNNING),
        (False, SILENT_AFTER, WorkerState.GONE),
        (True, SILENT_AFTER, WorkerState.STOPPED),
    ],
)
def test_silence_says_that_a_worker_went_and_its_last_word_how(
    *, is_draining: bool, silent_for: timedelta, state: WorkerState
) -> None:
    """Two signs may be late before a worker counts as gone."""
    assert state_of(is_draining=is_draining, silent_for=silent_for) is state
    assert SILENT_AFTER > 2 * SIGN_PERIOD
