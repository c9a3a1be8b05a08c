"""What a limiter that has lost its memory is told again: what Postgres knows of calls, breakers and throttles."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from service.core.breakers import Breaker


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCall:
    """A call that may be under way, for a batch under a lease."""

    batch_id: UUID
    project_id: str
    workspace: str
    lease_left: timedelta

    @property
    def place(self) -> str:
        """The workspace within its project."""
        return f"{self.project_id}/{self.workspace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A time that the vendor has asked for, for a workspace, or for all calls where both names are empty."""

    project_id: str
    workspace: str
    left: timedelta

    @property
    def place(self) -> str | None:
        """The workspace within its project; None for all calls."""
        return f"{self.project_id}/{self.workspace}" if self.workspace else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterMemory:
    """All that holds calls back, beside the rates."""

    breakers: tuple[Breaker, ...] = ()
    calls: tuple[RunningCall, ...] = ()
    rests: tuple[Rest, ...] = ()
