"""The records and states of a release, as Postgres holds them and as the contract names them.

Every enum here has a Postgres enum of the same values; a test compares the two.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from service.core.batch_key import BatchKey
from service.core.outcomes import VendorError


class RequestState(StrEnum):
    """Where a release request stands."""

    ACCEPTED = "accepted"
    BATCHED = "batched"
    RELEASING = "releasing"
    IN_DOUBT = "in_doubt"
    NEEDS_ATTENTION = "needs_attention"
    RELEASED = "released"
    PARTLY_RELEASED = "partly_released"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_done(self) -> bool:
        """Whether the state is final."""
        return self in DONE_REQUEST_STATES


DONE_REQUEST_STATES = frozenset(
    {
        RequestState.RELEASED,
        RequestState.PARTLY_RELEASED,
        RequestState.REJECTED,
        RequestState.FAILED,
        RequestState.CANCELLED,
        RequestState.EXPIRED,
    }
)


class ItemState(StrEnum):
    """Where one pending item of a request stands."""

    WAITING = "waiting"
    BATCHED = "batched"
    RELEASING = "releasing"
    IN_DOUBT = "in_doubt"
    NEEDS_ATTENTION = "needs_attention"
    RELEASED = "released"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class BatchState(StrEnum):
    """Where a batch stands: see the state diagram in docs/states.md."""

    SEALED = "sealed"
    SENDING = "sending"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    NEEDS_ATTENTION = "needs_attention"
    RELEASED = "released"
    REJECTED = "rejected"
    FAILED = "failed"
    SPLIT = "split"


class AttemptOutcome(StrEnum):
    """What one vendor call came to."""

    RELEASED = "released"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    NOT_SENT = "not_sent"
    IN_DOUBT = "in_doubt"


class ClosedBy(StrEnum):
    """Why a window was closed and its items became a batch."""

    SIZE = "size"
    QUIET = "quiet"
    LINGER = "linger"
    DEADLINE = "deadline"
    FLUSH = "flush"


class Priority(StrEnum):
    """Order in which the waiting items of one batch key are taken; none is passed over for long."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class WaitReason(StrEnum):
    """What holds a request back at the moment."""

    WINDOW_OPEN = "window_open"
    RATE = "rate"
    WORKSPACE_RATE = "workspace_rate"
    CONCURRENCY = "concurrency"
    BREAKER_OPEN = "breaker_open"
    PAUSED = "paused"
    FROZEN = "frozen"
    BACKOFF = "backoff"
    RECONCILING = "reconciling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A claimed batch, ready for one call: its identity, its fence and what the call must carry."""

    batch_id: UUID
    key: BatchKey
    package_name: str
    pending_item_ids: tuple[str, ...]
    #: Grows with every claim; a write of an outcome must carry the epoch of its own claim.
    epoch: int
    #: Number of the open attempt; counts every call, also those that cost nothing.
    attempt_number: int
    #: Calls so far that count against the maximum.
    counted_attempts: int
    #: Whether an earlier call for it was in doubt, so that a later no may only mean that the earlier one worked.
    was_in_doubt: bool = False
    #: Since it was sealed, when it was claimed for this call.
    age: timedelta = timedelta(0)
    traceparent: str | None = None

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields that identify this batch in a log line."""
        return {
            "batch_id": str(self.batch_id),
            "workspace": self.key.workspace,
            "attempt": self.attempt_number,
            "epoch": self.epoch,
            **trace_fields(self.traceparent),
        }


def trace_fields(traceparent: str | None) -> dict[str, object]:
    """Return the trace for a log line; a W3C trace context is version, trace, span and flags, with dashes between."""
    return {} if traceparent is None else {"trace_id": traceparent.split("-")[1]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a request's timeline."""

    seq: int
    at: datetime
    type: str
    state: RequestState
    batch_id: UUID | None
    attempt: int | None
    detail: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemError:
    """Why an item was not released, in the contract's form.

    ``code`` is ours and stable; ``vendor`` keeps the vendor's words untouched.
    """

    code: str
    message: str
    retryable: bool
    vendor: VendorError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """Where a batch and its items go after its doubt has ended."""

    batch_state: BatchState
    item_state: ItemState
    release_package_id: str | None = None
    error: ItemError | None = None
