"""The gateway's rate limits: how many calls a sliding second may hold."""

from collections import deque
from dataclasses import dataclass

_WINDOW_SECONDS = 1.0

WindowKey = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One policy: whose calls are counted together, and how many may pass in a second (0 = any number)."""

    key: WindowKey
    policy: str
    calls: int


class SlidingWindows:
    """The calls of the last second, per policy key; refused calls do not count."""

    def __init__(self) -> None:
        self._windows: dict[WindowKey, deque[float]] = {}

    def take(self, limits: tuple[Limit, ...], now: float) -> Limit | None:
        """Count a call, or return the first limit that it would exceed; ``now`` is in monotonic seconds."""
        active = [limit for limit in limits if limit.calls]
        for limit in active:
            if len(self._current(limit.key, now)) >= limit.calls:
                return limit
        for limit in active:
            self._windows[limit.key].append(now)
        return None

    def _current(self, key: WindowKey, now: float) -> deque[float]:
        window = self._windows.setdefault(key, deque())
        while window and window[0] <= now - _WINDOW_SECONDS:
            window.popleft()
        return window
