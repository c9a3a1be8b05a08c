"""The situations in which targets are measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.load.targets import L1, L3N, L4N, L5N, SERVICE, Target
from bench.load.vendor import Rules
from bench.load.work import Work


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
    intakes: int = 1
    workers: int = 1


def scenarios(requests: int) -> list[Scenario]:
    """Return all scenarios; where time is what counts, the number of requests is their own."""
    work = Work(requests=requests)
    return [
        Scenario(
            name="edge",
            title="Accept only",
            targets=(L1, L3N, SERVICE),
            work=work,
            workers=0,
        ),
        Scenario(name="burst", title="Accept and release", targets=(L3N, L4N, L5N, SERVICE)[1:], work=work),
        Scenario(
            name="gentle",
            title="100 requests a second",
            targets=(L4N, L5N, SERVICE),
            work=Work(requests=min(requests, 1_000)),
            rate=100.0,
            environment={"RELEASE_BATCH_QUIET_SECONDS": "0"},
        ),
    ]
