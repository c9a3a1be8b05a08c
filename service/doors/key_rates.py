"""How often a key may be used: a rate for each, with as much at once as the rate gives in two seconds."""

_BURST_SECONDS = 2.0
_ROUNDING_SECONDS = 1e-6
#: More keys than that are hardly in use at once; then those that were idle longest start anew.
_MOST_KEYS = 10_000


class KeyRates:
    """The rate of each key, in this process."""

    def __init__(self, rate: float) -> None:
        self._pause = 1 / rate if rate else 0.0
        #: By key: when its uses so far would have been spread evenly to (GCRA).
        self._spread_to: dict[str, float] = {}

    def take(self, key: str, *, now: float) -> float:
        """Count a use; return the seconds until there may be one, 0 where that is now."""
        if not self._pause:
            return 0.0
        spread_to = max(self._spread_to.pop(key, now), now) + self._pause
        wait = spread_to - now - max(_BURST_SECONDS, self._pause)
        is_early = wait > _ROUNDING_SECONDS
        self._spread_to[key] = spread_to - self._pause if is_early else spread_to
        if len(self._spread_to) > _MOST_KEYS:
            del self._spread_to[next(iter(self._spread_to))]
        return wait if is_early else 0.0
