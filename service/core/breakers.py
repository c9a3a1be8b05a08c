"""Breakers: what stops calls that would only fail. The limiter decides; here is what is known of one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class BreakerReason(StrEnum):
    """Why a breaker is open."""

    #: The vendor refused our signature or key.
    AUTHENTICATION = "authentication"
    #: Too many calls failed: the vendor cannot be reached, or does not answer for sure.
    FAILURES = "failures"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """How long a breaker that opened by failures waits for its probes: doubled each time, up to the cap."""

    pause: timedelta
    cap: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A breaker after a change. An empty project and workspace mean all calls of the credential."""

    #: Name of the credential that does not show it.
    credential: str
    project_id: str
    workspace: str
    reason: BreakerReason
    #: When it changed, by the clock of Redis.
    changed_at: datetime
    #: How often it opened in a row, without a probe that worked.
    openings: int
    #: When the next probe may be made; None where it is closed.
    until: datetime | None

    @property
    def pause(self) -> timedelta:
        """How long it lets nothing through from the change on; none where it is closed."""
        return self.until - self.changed_at if self.until else timedelta(0)
