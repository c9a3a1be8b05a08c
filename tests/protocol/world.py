"""The state of the protocol's model: batches in Postgres, workers, requests on their way, and the vendor.

Small on purpose: two workers, a few batches, a few sends. Time is not a number: what may not happen while something is
still under way is a condition of a step, and which conditions hold is what the variants differ in.
"""

from dataclasses import dataclass
from typing import NamedTuple

from service.core.model import BatchState, ItemState

#: Before a batch exists, its items wait.
WAITING = ItemState.WAITING.value
EXPIRED = ItemState.EXPIRED.value
SEALED = BatchState.SEALED.value
SENDING = BatchState.SENDING.value
REFUSED = BatchState.REFUSED.value
IN_DOUBT = BatchState.IN_DOUBT.value
NEEDS_ATTENTION = BatchState.NEEDS_ATTENTION.value
RELEASED = BatchState.RELEASED.value
REJECTED = BatchState.REJECTED.value
FAILED = BatchState.FAILED.value
SPLIT = BatchState.SPLIT.value
#: A batch that nobody has asked for yet.
ABSENT = "absent"
#: Where a batch stays, unless an operator decides.
ENDS = frozenset({RELEASED, REJECTED, FAILED, SPLIT, NEEDS_ATTENTION, EXPIRED, ABSENT})

IDLE, CLAIMED, CHECKED, CALLING, ANSWERED = "idle", "claimed", "checked", "calling", "answered"
YES, NO, UNKNOWN = "yes", "no", "unknown"
FLYING = "flying"


class Batch(NamedTuple):
    """A batch as Postgres has it."""

    items: str
    state: str = SEALED
    epoch: int = 0
    sends: int = 0
    #: Whether an earlier call was in doubt, and whether the last one was answered with a no.
    was_in_doubt: bool = False
    was_refused: bool = False
    #: Whether the settle time of its doubt is over, and how many looks have seen absence since.
    is_quiet: bool = False
    looks: int = 0


class Worker(NamedTuple):
    """A worker and what it believes about the batch it has claimed."""

    phase: str = IDLE
    batch: int = 0
    epoch: int = 0
    answer: str = UNKNOWN


class Request(NamedTuple):
    """A request on its way, or its answer on the way back."""

    batch: int
    worker: int
    epoch: int
    status: str = FLYING


class World(NamedTuple):
    """Everything at one moment."""

    batches: tuple[Batch, ...]
    workers: tuple[Worker, ...]
    requests: tuple[Request, ...]
    #: How many packages were made of each batch.
    made: tuple[int, ...]
    #: The batches whose package the lists do not show yet.
    hidden: frozenset[int]

    def packages_of(self, item: str) -> int:
        """Count the packages that hold an item."""
        return sum(count for batch, count in zip(self.batches, self.made, strict=True) if item in batch.items)

    def shows(self, item: str) -> bool:
        """Tell whether the lists show an item as packaged."""
        return any(
            count and index not in self.hidden and item in self.batches[index].items
            for index, count in enumerate(self.made)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Which guards there are, and what the world may do."""

    #: The attempt is written before the call, so that a crash leaves a trace.
    has_intent: bool = True
    #: A lease that runs out means in doubt, not "send again".
    expiry_is_doubt: bool = True
    #: Outcomes are written only under the epoch of their claim.
    has_epoch: bool = True
    #: A doubt is looked into only after the settle time.
    has_settle_time: bool = True
    #: The lease is checked right before the write.
    has_last_check: bool = True
    #: A worker may stand still between its last check and the write for longer than the settle time.
    may_stall_long: bool = False
    #: The lists may show a package later than the settle time.
    may_lag_long: bool = False
    #: The vendor refuses items that are packaged.
    is_strict: bool = False
    #: What is proved absent is left to an operator.
    is_park: bool = False
    #: The parts of a refused batch are written with its end, and once.
    split_is_fenced: bool = True
    #: An item has one live holder.
    has_one_holder: bool = True
    #: Whether an end without a package is promised to be true; a variant may promise less.
    no_is_proved: bool = True
    most_sends: int = 3
    most_epochs: int = 4
