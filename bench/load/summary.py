"""Medians over rounds, and ratios within rounds: what a busy machine does to one target, it does to its neighbours."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.load.figures import Figures
from bench.load.rounds import Trial

Read = Callable[[Figures], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of some numbers, and the smallest and the largest."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Results:
    """All trials."""

    trials: Sequence[Trial]

    def spread(self, scenario: str, target: str, read: Read) -> Spread | None:
        """Return how a figure was over the rounds; None where there is none."""
        return _spread_of(read(trial.figures) for trial in self._of(scenario, target))

    def ratio(self, scenario: str, target: str, base: str, read: Read) -> Spread | None:
        """Return a figure of a target over that of another one in the same round."""
        bases = {trial.round: read(trial.figures) for trial in self._of(scenario, base)}
        return _spread_of(
            _quotient(read(trial.figures), bases.get(trial.round)) for trial in self._of(scenario, target)
        )

    def total(self, scenario: str, target: str, read: Callable[[Figures], int]) -> int:
        """Add a count up over the rounds."""
        return sum(read(trial.figures) for trial in self._of(scenario, target))

    def has(self, scenario: str, target: str) -> bool:
        """Tell whether a target was in a scenario."""
        return bool(self._of(scenario, target))

    def _of(self, scenario: str, target: str) -> list[Trial]:
        return [each for each in self.trials if (each.scenario, each.target) == (scenario, target)]


def _quotient(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def _spread_of(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(median=statistics.median(known), least=min(known), most=max(known))
