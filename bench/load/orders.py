"""What a generator is told, and what it tells: JSON on its command line and its standard output."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import orjson

from bench.load.work import Work

ACCEPTED = "202"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is sent where. Without a rate each connection sends when its answer is there (a closed loop)."""

    port: int
    path: str
    work: Work
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 64
    #: Requests a second, whether answers are there or not (an open loop).
    rate: float = 0.0
    #: Whether aiohttp's client sends, which costs more than the rest together.
    is_slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, in seconds since 1970."""

    request_id: str
    answered_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of an order."""

    started_at: float
    ended_at: float
    accepted: int
    #: How many answers had another status.
    refused: dict[str, int]
    cpu_seconds: float
    #: Sorted.
    latencies_ms: Sequence[float]
    #: Of an open loop only.
    exchanges: Sequence[Exchange]


@dataclass(slots=True, kw_only=True)
class Tally:
    """What is noted of each answer."""

    statuses: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)

    def sent(self, *, started_at: float, ended_at: float, cpu_seconds: float) -> Sent:
        """Put everything together."""
        return Sent(
            started_at=started_at,
            ended_at=ended_at,
            accepted=self.statuses[ACCEPTED],
            refused={status: times for status, times in self.statuses.items() if status != ACCEPTED},
            cpu_seconds=cpu_seconds,
            latencies_ms=[round(1_000 * seconds, 3) for seconds in sorted(self.latencies)],
            exchanges=self.exchanges,
        )


def read_order(text: str) -> Order:
    """Read an order as ``write_order`` wrote it."""
    members = orjson.loads(text)
    return Order(**{**members, "work": Work(**members["work"])})


def write_order(order: Order) -> str:
    """Write an order for the command line."""
    return orjson.dumps(asdict(order)).decode()


def read_sent(text: bytes) -> Sent:
    """Read what a generator wrote."""
    members = orjson.loads(text)
    return Sent(**{**members, "exchanges": [Exchange(**each) for each in members["exchanges"]]})


def write_sent(sent: Sent) -> bytes:
    """Write what came of an order."""
    return orjson.dumps(asdict(sent))
