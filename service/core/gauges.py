"""How the whole stands, as it was counted for a scrape."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPlace:
    """What waits in a workspace, or in all that are not named."""

    #: None for all others together.
    workspace: str | None
    items: int
    #: For how long the first of them could have been sent.
    oldest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What waits and what is under way in PostgreSQL at one moment."""

    waiting: tuple[WaitingPlace, ...]
    calls_under_way: int
    in_doubt: int
    in_doubt_oldest_seconds: float
    needs_attention: int
    breakers_open: int
    workspaces_paused: int
    schema_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits in Redis."""

    doorbells: int
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Generic[T]):
    """What was counted, and how old it is."""

    value: T
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """How the whole stands; what is away has no figures."""

    is_database_up: bool
    gauges: Counted[Gauges] | None
    #: All requests by state, at one moment; a state without any is left out.
    requests: Counted[Mapping[str, int]] | None
    #: None where Redis is away.
    backlog: Backlog | None
    #: How long a doubt may last.
    doubt_budget: timedelta
    #: Calls a second; 0 is no limit.
    rate_limit: float
    concurrency_limit: int
