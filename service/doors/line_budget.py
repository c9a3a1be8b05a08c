"""Keeps the log readable, and cheap, when everything is slow: so many lines a second, and how many were left out."""

_LINES_A_SECOND = 20


class LineBudget:
    """How many lines may still be written in this second."""

    def __init__(self) -> None:
        self._second = 0
        self._written = 0
        self._skipped = 0

    def take(self, *, now: float) -> int | None:
        """Return how many lines were left out before this one; None where this one is left out too."""
        if int(now) != self._second:
            self._second, self._written = int(now), 0
        if self._written >= _LINES_A_SECOND:
            self._skipped += 1
            return None
        self._written += 1
        skipped, self._skipped = self._skipped, 0
        return skipped
