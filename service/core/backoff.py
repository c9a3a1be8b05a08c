"""How long to wait before the next try: exponential, capped, with equal jitter.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog. Full jitter spreads many clients a little better, but
the waits of one batch would not grow; the retry budget and the breakers bound the crowd anyway.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

#: After a 429 without a usable Retry-After; the vendor's advice is 2 to 5 seconds.
THROTTLE_PAUSE = (timedelta(seconds=2), timedelta(seconds=5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The first step and the longest wait."""

    base: timedelta
    cap: timedelta

    def delay(self, tries: int, *, uniform: Callable[[float, float], float] = random.uniform) -> timedelta:
        """Return the wait after ``tries`` failed tries (1 or more): between half of the capped step and all of it."""
        exponent = min(max(tries, 1) - 1, 62)
        longest = min(self.base.total_seconds() * 2**exponent, self.cap.total_seconds())
        return timedelta(seconds=uniform(longest / 2, longest))


def throttle_pause(
    retry_after: timedelta | None, *, uniform: Callable[[float, float], float] = random.uniform
) -> timedelta:
    """Return how long a throttled scope rests: what the vendor said, else 2 to 5 seconds."""
    if retry_after is not None:
        return retry_after
    shortest, longest = THROTTLE_PAUSE
    return timedelta(seconds=uniform(shortest.total_seconds(), longest.total_seconds()))
