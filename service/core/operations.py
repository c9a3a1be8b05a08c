"""Operations: the same done to many release requests at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from service.core.model import RequestState

#: More requests than these take a narrower filter.
MOST_TARGETS = 100_000


class OperationAction(StrEnum):
    """What is done to each request."""

    CANCEL = "cancel"
    RETRY = "retry"

    @property
    def states(self) -> tuple[RequestState, ...]:
        """The states in which a request can be acted on; the others match no operation."""
        match self:
            case OperationAction.CANCEL:
                return (RequestState.ACCEPTED,)
            case OperationAction.RETRY:
                return (RequestState.FAILED, RequestState.REJECTED)


class OperationState(StrEnum):
    """Where an operation stands."""

    RUNNING = "running"
    DONE = "done"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation, as it was ordered."""

    operation_id: UUID
    action: OperationAction
    filter: Mapping[str, str]
    #: Who ordered it: the name that owns it, and one for people.
    caller: str
    actor: str
    #: Patterns of the workspaces that the caller could see.
    visible: tuple[str, ...]
    reason: str
    http_request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an operation has come."""

    operation: Operation
    state: OperationState
    total: int
    succeeded: int
    #: Requests that could not be acted on any more when their turn came.
    skipped: int
    created_at: datetime
    finished_at: datetime | None
