"""What the signs of life of worker processes say: how often they come, and what their absence means. Pure."""

from datetime import timedelta
from enum import StrEnum

#: How often a worker says that it lives.
SIGN_PERIOD = timedelta(seconds=5)
#: One that was not heard of for so long is no longer there.
SILENT_AFTER = 3 * SIGN_PERIOD
#: For so long it is remembered.
REMEMBERED_FOR = timedelta(days=1)


class WorkerState(StrEnum):
    """How a worker process stands."""

    RUNNING = "running"
    #: Told to stop, and finishing its calls.
    DRAINING = "draining"
    #: It went without having been told to.
    GONE = "gone"
    #: It went after it had been told to.
    STOPPED = "stopped"


def state_of(*, is_draining: bool, silent_for: timedelta) -> WorkerState:
    """Say how a worker stands by its last word, and for how long there was none since."""
    if silent_for < SILENT_AFTER:
        return WorkerState.DRAINING if is_draining else WorkerState.RUNNING
    return WorkerState.STOPPED if is_draining else WorkerState.GONE
