"""The situations in which targets are measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.load.targets import (
    ARQ,
    FOUR_WORKERS,
    L1,
    L3N,
    L3P,
    L4N,
    L5N,
    LIMITED,
    SERVICE,
    TWO_INTAKES,
    TWO_WORKERS,
    Target,
)
from bench.load.vendor import Rules
from bench.load.work import Work

CAP = 5
CAP_REQUESTS = 2_000
WARM_UP = Work(requests=200, seed=2, first=10_000_001)
NO_WARM_UP = Work(requests=0)
GENTLE_RATE = 100.0
GENTLE_REQUESTS = 500
FLAKY_REQUESTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A situation."""

    name: str
    title: str
    targets: Sequence[Target]
    work: Work
    #: Requests a second; 0 is as fast as answers come.
    rate: float = 0.0
    rules: Rules = field(default_factory=Rules)
    #: Settings of this service, and variables of yardsticks.
    environment: Mapping[str, str] = field(default_factory=dict)
    has_workers: bool = True
    is_client_slow: bool = False
    #: What is sent before, and not counted.
    warm_up: Work = WARM_UP


def scenarios(requests: int) -> list[Scenario]:
    """Return all scenarios; where time is what counts, fewer requests are enough."""
    work = Work(requests=requests)
    return [*_of_intake(work), *_of_release(work), *_of_a_vendor_that_refuses(requests)]


def _of_intake(work: Work) -> list[Scenario]:
    return [
        Scenario(
            name="edge",
            title="Accept only",
            targets=(L1, L3N, L3P, ARQ, SERVICE, TWO_INTAKES),
            work=work,
            has_workers=False,
        ),
        Scenario(
            name="client",
            title="Accept only, from a client that needs more time itself",
            targets=(L1, L3N, L3P, SERVICE),
            work=work,
            has_workers=False,
            is_client_slow=True,
        ),
    ]


def _of_release(work: Work) -> list[Scenario]:
    return [
        Scenario(
            name="burst",
            title="Accept and release",
            targets=(L4N, L5N, ARQ, SERVICE, LIMITED, TWO_WORKERS, FOUR_WORKERS),
            work=work,
        ),
        Scenario(
            name="gentle",
            title=f"{GENTLE_RATE:.0f} requests a second, no quiet time",
            targets=(L4N, L5N, ARQ, SERVICE),
            work=Work(requests=min(work.requests, GENTLE_REQUESTS)),
            rate=GENTLE_RATE,
            environment={"RELEASE_BATCH_QUIET_SECONDS": "0"},
        ),
    ]


def _of_a_vendor_that_refuses(requests: int) -> list[Scenario]:
    return [
        Scenario(
            name="cap",
            title=f"The vendor allows {CAP} calls a second and workspace",
            targets=(L4N, L5N, SERVICE),
            work=Work(requests=min(requests, CAP_REQUESTS)),
            rules=Rules(workspace_rate=CAP),
            warm_up=NO_WARM_UP,
            environment={"RELEASE_WORKSPACE_RATE": str(CAP), "BENCH_PACE": str(CAP)},
        ),
        Scenario(
            name="flaky",
            title="5 % of calls get 503, of 5 % the answer is lost after the effect",
            targets=(L4N, ARQ, SERVICE),
            work=Work(requests=min(requests, FLAKY_REQUESTS)),
            rules=Rules(unavailable=0.05, lost=0.05),
            warm_up=NO_WARM_UP,
            # Smaller batches, so that there are calls enough to fail.
            environment={
                "RELEASE_BATCH_MAX_ITEMS": "10",
                "RELEASE_SETTLE_SECONDS": "1",
                "RELEASE_RECHECK_SECONDS": "0.5",
                "BENCH_MOST_ITEMS": "10",
            },
        ),
    ]


def scenarios_of_peers(requests: int, peers: Sequence[Target]) -> list[Scenario]:
    """Return the scenarios that peers are put to; most lose what a crash loses, so they are not made to crash."""
    work = Work(requests=requests)
    return [
        Scenario(name="edge", title="Accept only", targets=(L1, *peers, ARQ), work=work, has_workers=False),
        Scenario(
            name="burst", title="Accept and release", targets=(L4N, L5N, *peers, ARQ, SERVICE), work=work
        ),
        Scenario(
            name="gentle",
            title=f"{GENTLE_RATE:.0f} requests a second, no quiet time",
            targets=(*peers, ARQ, SERVICE),
            work=Work(requests=min(requests, GENTLE_REQUESTS)),
            rate=GENTLE_RATE,
            environment={"RELEASE_BATCH_QUIET_SECONDS": "0"},
        ),
        Scenario(
            name="cap",
            title=f"The vendor allows {CAP} calls a second and workspace",
            targets=(*peers, ARQ, SERVICE),
            work=Work(requests=min(requests, CAP_REQUESTS)),
            rules=Rules(workspace_rate=CAP),
            warm_up=NO_WARM_UP,
            environment={"RELEASE_WORKSPACE_RATE": str(CAP)},
        ),
    ]
