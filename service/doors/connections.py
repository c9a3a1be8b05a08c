"""The connections of an HTTP process: how many there are, and who has to go when there are too many.

First those go that never sent a whole request, then those that are kept alive, the oldest first. When all are busy, a
few more are let in, and served nothing but health checks.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import structlog

from service.core.telemetry import LogEvent

#: What a new connection has to send its request: many that come at once are all made before any is read.
_GRACE_SECONDS = 0.1

log = structlog.get_logger()


class Closable(Protocol):
    """A connection, as far as this module knows it."""

    def give_way(self, *, may_have_asked: bool) -> None:
        """Close, since another needs the place."""


class Admission(Enum):
    """What a new connection may do."""

    FULL = auto()
    HEALTH_ONLY = auto()
    NONE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The most connections, and how many more may ask for health."""

    connections: int
    spare: int = 16


class Connections:
    """Every open connection by what it does, the oldest of each kind first."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        #: With the time from which they may have to give way.
        self._silent: dict[Closable, float] = {}
        self._idle: dict[Closable, float] = {}
        self._busy: dict[Closable, float] = {}
        self._was_full = False

    def __len__(self) -> int:
        return len(self._silent) + len(self._idle) + len(self._busy)

    @property
    def is_crowded(self) -> bool:
        """Whether there are more connections than there should be."""
        return len(self) > self._capacity.connections

    def admit(self, newcomer: Closable, *, now: float) -> Admission:
        """Count a new connection, and close another one for it where it must be."""
        if len(self) >= self._capacity.connections:
            self._make_place(now)
        if len(self) >= self._capacity.connections + self._capacity.spare:
            return Admission.NONE
        self._silent[newcomer] = now + _GRACE_SECONDS
        return Admission.HEALTH_ONLY if self.is_crowded else Admission.FULL

    def _make_place(self, now: float) -> None:
        if not self._was_full:
            log.warning(LogEvent.CONNECTIONS_FILLED, connections=len(self), busy=len(self._busy))
        self._was_full = True
        for kind in (self._silent, self._idle):
            oldest, closable_from = next(iter(kind.items()), (None, now))
            if oldest is not None and closable_from <= now:
                del kind[oldest]
                oldest.give_way(may_have_asked=kind is self._silent)
                return

    def begin(self, connection: Closable) -> None:
        """Note that a connection has sent a request."""
        if self._leave(connection):
            self._busy[connection] = 0.0

    def end(self, connection: Closable) -> None:
        """Note that a connection has its answer."""
        if self._leave(connection):
            self._idle[connection] = 0.0

    def remove(self, connection: Closable) -> None:
        """Forget a connection that is closed."""
        self._leave(connection)
        if len(self) < self._capacity.connections // 2:
            self._was_full = False

    def _leave(self, connection: Closable) -> bool:
        for kind in (self._idle, self._busy, self._silent):
            if connection in kind:
                del kind[connection]
                return True
        return False
