"""The state of the protocol's model: batches in Postgres, workers, requests on their way, and the vendor.

Small on purpose: two workers, a few batches, a few sends. Time is not a number: what may not happen while something is
still under way is a condition of a step, and which conditions hold is what the variants differ in.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple, Self

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
#: The ends that say: no package was made.
NO_PACKAGE = frozenset({REJECTED, FAILED, EXPIRED, SPLIT})

IDLE, CLAIMED, CHECKED, CALLING, ANSWERED = "idle", "claimed", "checked", "calling", "answered"
FLYING = "flying"


class Answer(StrEnum):
    """What a worker knows of its call; each stands for one outcome of the service."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "nothing"
    THROTTLED = "throttled"
    NO_CONNECTION = "no connection"
    TOO_LATE = "too late"


class Wait(StrEnum):
    """What a batch in doubt waits for before its next look."""

    NOTHING = "nothing"
    RECHECK = "another look"
    SETTLE = "the settle time"


class Lag(IntEnum):
    """How late the lists may show a package: by the end of which wait of a doubt it is always seen."""

    SETTLE = 0
    RECHECK = 1
    #: By the last of the looks that are taken before an end.
    PATIENCE = 2
    ENDLESS = 3


class Batch(NamedTuple):
    """A batch as Postgres has it."""

    items: str
    state: str = SEALED
    epoch: int = 1
    #: The calls that count against the maximum.
    tries: int = 0
    #: How often it was in doubt; two stands for more.
    doubts: int = 0
    #: Whether the last call was answered with a no, after a doubt.
    was_refused: bool = False
    #: What its next look waits for, and for how many rechecks the lists will have shown absence by then.
    wait: Wait = Wait.NOTHING
    absent: int = 0


class Worker(NamedTuple):
    """A worker and what it believes about the batch it has claimed."""

    phase: str = IDLE
    batch: int = 0
    epoch: int = 0
    answer: Answer = Answer.UNKNOWN


class Request(NamedTuple):
    """A request on its way, or its answer on the way back."""

    batch: int
    worker: int
    epoch: int
    status: str = FLYING


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
    #: One look that sees absence is no proof.
    has_second_look: bool = True
    #: Absence is seen for longer before it ends a request than before the call is made again.
    has_patience: bool = True
    #: The lease is checked right before the write.
    has_last_check: bool = True
    #: A worker may stand still between its last check and the write for longer than the settle time.
    may_stall_long: bool = False
    #: How late the lists may show a package.
    lag: Lag = Lag.SETTLE
    #: Whether the list of pending items is as late as that of packages; else it shows at once what is packaged.
    is_item_list_late: bool = True
    #: The vendor refuses items that are packaged.
    is_strict: bool = False
    #: What is proved absent is left to an operator.
    is_park: bool = False
    #: An operator decides about what needs attention, by what the vendor really has.
    has_operator: bool = False
    #: The operator waits until no call can be under way.
    is_operator_patient: bool = True
    #: The parts of a refused batch are written with its end, and once.
    split_is_fenced: bool = True
    #: What was in doubt stays so for the parts of a batch.
    is_doubt_kept: bool = True
    #: An item has one live holder.
    has_one_holder: bool = True
    #: The ends without a package that are promised to be true; a variant may promise less.
    true_ends: frozenset[str] = NO_PACKAGE
    most_tries: int = 3


class World(NamedTuple):
    """Everything at one moment."""

    batches: tuple[Batch, ...]
    workers: tuple[Worker, ...]
    requests: tuple[Request, ...]
    #: How many packages were made of each batch.
    made: tuple[int, ...]
    #: The batches whose package the lists do not show yet.
    hidden: frozenset[int]
    #: How many calls may still be without effect and cost no try: throttled, or too late for the lease.
    free_calls: int = 1

    def with_batch(self, index: int, batch: Batch) -> Self:
        """Return the world with one batch changed."""
        return self._replace(batches=(*self.batches[:index], batch, *self.batches[index + 1 :]))

    def with_worker(self, index: int, worker: Worker) -> Self:
        """Return the world with one worker changed."""
        return self._replace(workers=(*self.workers[:index], worker, *self.workers[index + 1 :]))

    def is_at_rest(self) -> bool:
        """Tell whether every batch has ended."""
        return all(batch.state in ENDS for batch in self.batches)

    def packages_of(self, item: str) -> int:
        """Count the packages that hold an item."""
        return sum(count for batch, count in zip(self.batches, self.made, strict=True) if item in batch.items)

    def has_packaged(self, index: int) -> bool:
        """Tell whether a batch, or one that it may come from, made a package with any of its items."""
        items = set(self.batches[index].items)
        return any(
            self.made[earlier] and items & set(self.batches[earlier].items) for earlier in range(index + 1)
        )

    def listed(self, index: int) -> int:
        """Count the packages of a batch that the lists show."""
        return 0 if index in self.hidden else self.made[index]

    def packaged(self, items: str, variant: Variant) -> str:
        """Return the items that the list of pending items shows as packaged."""
        shown = [
            self.listed(index) if variant.is_item_list_late else count
            for index, count in enumerate(self.made)
        ]
        packaged = {
            item for batch, count in zip(self.batches, shown, strict=True) if count for item in batch.items
        }
        return "".join(item for item in items if item in packaged)


Step = tuple[str, World]
