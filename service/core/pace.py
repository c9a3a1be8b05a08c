"""How long a request that comes now will wait for its commit, judged by the commits before."""

from dataclasses import dataclass

#: How much the newest commit counts beside those before it.
_NEWEST = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a commit takes, and how many items a request has, of late."""

    seconds: float = 0.0
    items: float = 1.0

    def after(self, *, seconds: float, requests: int, items: int) -> "Pace":
        """Return the pace after another commit."""
        if not self.seconds:
            return Pace(seconds=seconds, items=items / requests)
        return Pace(
            seconds=self.seconds + _NEWEST * (seconds - self.seconds),
            items=self.items + _NEWEST * (items / requests - self.items),
        )

    def wait_behind(self, requests: int, *, most_requests: int, most_items: int) -> float:
        """Return the seconds until the answer of who comes behind so many; 0 for who fits into the next commit.

        A commit with room is never worth refusing: however slow the last one was, only the next one tells.
        """
        together = min(most_requests, most_items / max(self.items, 1.0))
        return self.seconds * (1.5 + requests / together) if requests >= together else 0.0
