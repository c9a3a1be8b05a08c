"""The numbers that this service has to reach, and whether it does."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.load.figures import Figures
from bench.load.summary import Read, Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One number: how it is read, what it must be, and what it would better be."""

    title: str
    read: Callable[[Results], float | None]
    must: float
    aim: float
    form: str = ".2f"
    #: Whether more is better.
    is_floor: bool = False

    def verdict(self, reached: float) -> str:
        """Say which of the two was reached."""
        sign = 1 if self.is_floor else -1
        if sign * reached >= sign * self.aim:
            return "aim"
        return "must" if sign * reached >= sign * self.must else "missed"


def _value(scenario: str, read: Read) -> Callable[[Results], float | None]:
    def median(results: Results) -> float | None:
        spread = results.spread(scenario, "service", read)
        return None if spread is None else spread.median

    return median


def _ratio(
    scenario: str, base: str, read: Read, *, target: str = "service"
) -> Callable[[Results], float | None]:
    def median(results: Results) -> float | None:
        spread = results.ratio(scenario, target, base, read)
        return None if spread is None else spread.median

    return median


def _accepted(figures: Figures) -> float:
    return figures.accepted_per_second


def _done(figures: Figures) -> float | None:
    return figures.done_per_second


GOALS = (
    Goal(title="accepted/s ÷ L1", read=_ratio("edge", "L1", _accepted), must=0.60, aim=0.80, is_floor=True),
    Goal(title="done/s ÷ L5n", read=_ratio("burst", "L5n", _done), must=0.75, aim=0.95, is_floor=True),
    Goal(title="done/s ÷ taskiq", read=_ratio("burst", "taskiq", _done), must=3.3, aim=4.3, is_floor=True),
    Goal(
        title="done/s ÷ arq, a job a request",
        read=_ratio("burst", "arq", _done),
        must=6,
        aim=8,
        is_floor=True,
    ),
    Goal(
        title="CPU of HTTP process and worker ÷ L4n",
        read=_ratio("burst", "L4n", lambda each: each.own_cpu),
        must=2.2,
        aim=1.5,
    ),
    Goal(
        title="CPU s of PostgreSQL per 1,000",
        read=_value("burst", lambda each: each.postgres_cpu),
        must=0.25,
        aim=0.15,
    ),
    Goal(
        title="vendor calls per 1,000",
        read=_value("burst", lambda each: each.calls_per_1000),
        must=170,
        aim=135,
        form=".0f",
    ),
    Goal(
        title="100 a second: accept p99, ms",
        read=_value("gentle", lambda each: each.accept_p99_ms),
        must=6,
        aim=3,
        form=".1f",
    ),
    Goal(
        title="100 a second: accept to result p50, ms",
        read=_value("gentle", lambda each: each.result_p50_ms),
        must=40,
        aim=24,
        form=".1f",
    ),
    Goal(
        title="100 a second: accept to result p99, ms",
        read=_value("gentle", lambda each: each.result_p99_ms),
        must=60,
        aim=40,
        form=".1f",
    ),
    Goal(title="cap: seconds", read=_value("cap", lambda each: each.seconds), must=4, aim=3),
    Goal(title="cap: 429s", read=_value("cap", lambda each: each.throttled), must=0, aim=0, form=".0f"),
    Goal(
        title="MiB of the HTTP process",
        read=_value("burst", lambda each: each.intake_mib),
        must=90,
        aim=70,
        form=".0f",
    ),
    Goal(
        title="MiB of the worker",
        read=_value("burst", lambda each: each.worker_mib),
        must=90,
        aim=70,
        form=".0f",
    ),
    Goal(
        title="two HTTP processes ÷ one",
        read=_ratio("edge", "service", _accepted, target="2 HTTP"),
        must=1.6,
        aim=1.6,
        is_floor=True,
    ),
)


def goals_table(results: Results) -> list[str]:
    """Write what was reached of the goals that were measured."""
    lines = ["| | must | aim | reached | |", "|---|---|---|---|---|"]
    for goal in GOALS:
        reached = goal.read(results)
        if reached is not None:
            sign = "≥" if goal.is_floor else "≤"
            lines.append(
                f"| {goal.title} | {sign} {goal.must:g} | {sign} {goal.aim:g} | {reached:{goal.form}}"
                f" | {goal.verdict(reached)} |"
            )
    return lines
