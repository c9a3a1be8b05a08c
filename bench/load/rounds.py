"""Runs rounds: each target of each scenario once a round, in turn, so that all meet the same machine."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load.figures import Figures
from bench.load.scenarios import Scenario
from bench.load.servers import Servers
from bench.load.targets import Target
from bench.load.trial import run_trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one target did in one scenario of one round."""

    round: int
    scenario: str
    target: str
    figures: Figures


async def run_rounds(
    chosen: Sequence[Scenario], servers: Servers, directory: Path, *, rounds: int
) -> AsyncIterator[Trial]:
    """Run all, one after the other."""
    for number in range(rounds):
        for scenario in chosen:
            for target in turned(scenario.targets, number):
                figures = await run_trial(target, scenario, servers, directory)
                yield Trial(round=number, scenario=scenario.name, target=target.name, figures=figures)


def turned(targets: Sequence[Target], number: int) -> Sequence[Target]:
    """Let another target be the first in each round."""
    first = number % len(targets)
    return [*targets[first:], *targets[:first]]
