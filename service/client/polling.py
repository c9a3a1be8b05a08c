"""How a change is waited for: by calls that the service holds back, and where these do not come through, by asking."""

from dataclasses import dataclass, replace
from typing import Self

_FIRST_REST = 0.5
_LONGEST_REST = 5.0
#: An answer without news that comes sooner was not held back.
_SOON = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """The next call: somebody on the way may cut calls that wait, or have them answered at once."""

    #: The seconds that it is held back; 0 is asking.
    wait: int = 20
    #: The seconds of rest before it.
    rest: float = 0.0

    def after_cut(self) -> Self:
        """Wait for a shorter time: 20, 5, 1 seconds, and then not at all."""
        return replace(self, wait=self.wait // 4, rest=0.0)

    def after_answer(self, *, is_news: bool, took: float) -> Self:
        """Go on at once where the answer was held back, or had to come at once; rest where it was not."""
        if self.wait and (is_news or took >= _SOON):
            return replace(self, rest=0.0)
        rest = _FIRST_REST if is_news else min(_LONGEST_REST, max(_FIRST_REST, self.rest * 1.5))
        return replace(self, rest=rest)
