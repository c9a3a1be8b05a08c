"""What the limiter goes by: the limits, whose they are, who asks, and what an outcome means for the calls of others."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import assert_never
from uuid import UUID

from service.core.breakers import Breaker, BreakerPolicy, BreakerReason
from service.core.outcomes import (
    InDoubt,
    NotSent,
    NotSentCause,
    Outcome,
    Rejected,
    Released,
    Throttled,
)
from service.core.place import Place
from service.core.workspaces import NOTHING_OWN, OwnSettings
from service.gateways.vendor.classify import is_service_error

CREATE_PACKAGE = "create_package"
#: All lists together: the vendor limits each alone, so this is on the safe side.
READ = "read"
#: Deploying and unpacking packages, together for the same reason.
CHANGE_PACKAGE = "change_package"
#: Of an interval: takes up the lateness of callers that come back.
_TOLERANCE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be called; a rate of 0 is no limit."""

    rate: float
    #: Of a workspace without a rate of its own.
    workspace_rate: float
    concurrency: int
    #: How long a permit counts as a running call when nobody hands it back.
    permit_life: timedelta
    #: Calls at once of a workspace without a number of its own; 0 is no limit.
    workspace_concurrency: int = 0
    #: Share of first calls that may be retried.
    retry_share: float = 0.2
    #: One retry a period besides.
    retry_period: timedelta = timedelta(seconds=6)
    #: None: failures of these calls open no breaker.
    breaker: BreakerPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Names of a credential that do not show it: of who it is, and of the very key."""

    name: str
    #: Another secret of the same name has to prove itself again.
    key_digest: str
    #: Whether it makes one call at a time until the vendor has accepted one as signed.
    has_to_prove_itself: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who wants to call: the batch key, for one workspace."""

    batch_key: UUID
    project_id: str
    workspace: str
    #: Whether an earlier call for the same batch failed.
    is_retry: bool = False
    #: What the workspace has of its own.
    own: OwnSettings = NOTHING_OWN
    #: When the workspace was resumed, if that was a moment ago.
    resumed_at: datetime | None = None

    @property
    def place(self) -> Place:
        """The workspace within its project."""
        return Place(project_id=self.project_id, workspace=self.workspace)

    def workspace_rate(self, limits: Limits) -> float:
        """Return the calls a second that the workspace may make; 0 is no limit."""
        return limits.workspace_rate if self.own.rate is None else self.own.rate

    def workspace_concurrency(self, limits: Limits) -> int:
        """Return the calls at once that the workspace may make; 0 is no limit."""
        return limits.workspace_concurrency if self.own.concurrency is None else self.own.concurrency

    @property
    def resumption(self) -> str:
        """Name the resumption of the workspace, so that the limiter knows one that it has heard of; 0 for none."""
        return "0" if self.resumed_at is None else str(self.resumed_at.timestamp())


def what_happened(outcome: Outcome | None) -> str:
    """Say what an outcome means for the calls of others."""
    match outcome:
        case Released():
            return "accepted"
        case Rejected(error=error):
            return "accepted" if is_service_error(error) else "nothing"
        case Throttled(scope=scope):
            return f"throttled_{scope.value}"
        case NotSent(cause=NotSentCause.AUTHENTICATION):
            return "refused"
        case InDoubt(is_cut_off=False) | NotSent(cause=NotSentCause.UNREACHABLE | NotSentCause.UNAVAILABLE):
            return "failed"
        case InDoubt() | NotSent() | None:
            return "nothing"
        case _:
            assert_never(outcome)


def tolerance_of(rate: float) -> float:
    """Return the part of an interval that a call may come early.

    It is what the stated burst, a quarter of the rate and one call at least, leaves: none for slow rates. The rate of a
    workspace has no burst: its calls wait for the rest when they are written.
    """
    return min(_TOLERANCE, max(rate / 4 - 1, 0.0))


def changed_breaker(change: Sequence[bytes], *, credential: str, project_id: str, workspace: str) -> Breaker:
    """Read a change that the limiter reports: of the credential's breaker, or of the workspace's."""
    whose, reason, changed, ends, openings = change
    is_wide = whose == b"credential"
    return Breaker(
        credential=credential,
        project_id="" if is_wide else project_id,
        workspace="" if is_wide else workspace,
        reason=BreakerReason(reason.decode()),
        changed_at=_moment(changed),
        openings=int(openings),
        until=None if ends == b"0" else _moment(ends),
    )


def _moment(milliseconds: bytes) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
