"""What the façade remembers for a moment: answers to reads, and the changes that are being made."""

from dataclasses import dataclass, field
from datetime import timedelta

from service.core.place import Place
from service.core.verifying import Pairs
from service.flow.flights import Flights, Keeping
from service.gateways.permits import Refused
from service.gateways.vendor.client import Forwarded

#: The date of a signature has whole seconds: within this time the same signature is the same call.
SAME_CALL = timedelta(seconds=3)
_READS_KEPT_SECONDS = 1.0
_MOST_READS = 256
#: Longer answers are passed on and not kept.
_LONGEST_KEPT = 256 << 10
_MOST_CHANGES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call of the vendor's API, told from others by what it asks for; not by who asks."""

    place: Place
    method: str
    path: str
    query: Pairs = ()
    body: bytes = field(default=b"", repr=False)


class Reads(Flights[Asked, Forwarded | Refused]):
    """Reads that are under way or were just made."""

    def forget_place(self, place: Place) -> None:
        """Let nobody have what was read of a workspace before something in it was changed."""
        self.forget(lambda asked: asked.place == place)


class Changes(Flights[bytes, Forwarded | Refused]):
    """Changes that are under way or were just made, by the signatures of their calls."""


def new_reads() -> Reads:
    """Return an empty memory of reads."""
    return Reads(Keeping(seconds=_READS_KEPT_SECONDS, most=_MOST_READS, is_kept=_is_kept))


def new_changes() -> Changes:
    """Return an empty memory of changes."""
    return Changes(
        Keeping(seconds=SAME_CALL.total_seconds(), most=_MOST_CHANGES, is_kept=lambda _passed: True)
    )


def _is_kept(passed: Forwarded | Refused) -> bool:
    match passed:
        case Forwarded(answer=answer, failure=None) if answer is not None:
            return len(answer.body) <= _LONGEST_KEPT
        case _:
            return False
