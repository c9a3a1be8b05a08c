"""Lets a test stop a worker at a point that cannot be met from outside."""

import os
import signal
from enum import StrEnum


class FailpointName(StrEnum):
    """Where a worker can be made to stop itself."""

    #: The vendor has answered; nothing of it is committed.
    AFTER_ANSWER = "after_answer"
    #: The lease was looked at for the last time; nothing is written to the socket.
    BEFORE_WRITE = "before_write"


class Failpoint:
    """Stops the process with SIGSTOP, once, at the chosen point; after SIGCONT it goes on."""

    def __init__(self, chosen: FailpointName | None) -> None:
        self._chosen = chosen

    def pass_point(self, point: FailpointName) -> None:
        """Go on at once, unless this is the chosen point and it is reached for the first time."""
        if point is self._chosen:
            self._chosen = None
            os.kill(os.getpid(), signal.SIGSTOP)
