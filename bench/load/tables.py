"""The tables of a report: for each scenario its columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bench.load.figures import Figures
from bench.load.scenarios import Scenario
from bench.load.summary import Read, Results, Spread
from bench.load.targets import Target

Cell = Callable[[Results, str, Target], str]


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and what stands below it."""

    heading: str
    cell: Cell


def value(heading: str, read: Read, form: str = ".0f") -> Column:
    """Show the median, and in brackets the smallest and the largest."""

    def cell(results: Results, scenario: str, target: Target) -> str:
        return show(results.spread(scenario, target.name, read), form)

    return Column(heading, cell)


def ratio(heading: str, base: str, read: Read) -> Column:
    """Show the ratio to another target of the same round."""

    def cell(results: Results, scenario: str, target: Target) -> str:
        return show(results.ratio(scenario, target.name, base, read), ".2f")

    return Column(heading, cell)


def count(heading: str, read: Callable[[Figures], int]) -> Column:
    """Show the sum over all rounds."""

    def cell(results: Results, scenario: str, target: Target) -> str:
        return f"{results.total(scenario, target.name, read):,}"

    return Column(heading, cell)


def pair(heading: str, first: Read, second: Read, form: str = ".1f") -> Column:
    """Show two medians."""

    def cell(results: Results, scenario: str, target: Target) -> str:
        spreads = [results.spread(scenario, target.name, read) for read in (first, second)]
        return " / ".join("-" if each is None else format(each.median, form) for each in spreads)

    return Column(heading, cell)


def show(spread: Spread | None, form: str) -> str:
    """Write a median with its spread; a thousand gets its comma."""
    if spread is None:
        return "-"
    median, least, most = (format(each, f",{form}") for each in (spread.median, spread.least, spread.most))
    return median if least == most else f"{median} ({least} to {most})"


ACCEPTED = value("accepted/s", lambda each: each.accepted_per_second)
ACCEPT_TIMES = pair("accept p50 / p99, ms", lambda each: each.accept_p50_ms, lambda each: each.accept_p99_ms)
RESULT_TIMES = pair(
    "to result p50 / p99, ms", lambda each: each.result_p50_ms, lambda each: each.result_p99_ms
)
INTAKE_CPU = value("CPU HTTP", lambda each: each.intake_cpu, ".3f")
WORKER_CPU = value("CPU worker", lambda each: each.worker_cpu, ".3f")
POSTGRES_CPU = value("CPU PostgreSQL", lambda each: each.postgres_cpu, ".3f")
REDIS_CPU = value("CPU Redis", lambda each: each.redis_cpu, ".3f")
GENERATOR_CPU = value("CPU generator", lambda each: each.generator_cpu, ".3f")
MEMORY = pair("MiB HTTP / worker", lambda each: each.intake_mib, lambda each: each.worker_mib or None, ".0f")
SECONDS = value("seconds", lambda each: each.seconds, ".2f")
CALLS = value("calls per 1,000", lambda each: each.calls_per_1000)
THROTTLED = count("429s", lambda each: each.throttled)
RELEASED = count("released", lambda each: each.released)
FAILED = count("failed", lambda each: each.failed)
UNDONE = count("in doubt or waiting", lambda each: each.undone)
DUPLICATES = count("released twice", lambda each: each.duplicates)
LOST = count("lost", lambda each: each.lost)
REFUSED = count("refused", lambda each: each.refused)

EDGE = (
    ACCEPTED,
    ratio("÷ L1", "L1", lambda each: each.accepted_per_second),
    ratio("CPU HTTP ÷ L1", "L1", lambda each: each.intake_cpu),
    ACCEPT_TIMES,
    INTAKE_CPU,
    POSTGRES_CPU,
    REDIS_CPU,
    GENERATOR_CPU,
    REFUSED,
)

COLUMNS = MappingProxyType(
    {
        "edge": EDGE,
        "client": EDGE,
        "burst": (
            ACCEPTED,
            value("done/s", lambda each: each.done_per_second),
            ratio("÷ L5n", "L5n", lambda each: each.done_per_second),
            CALLS,
            INTAKE_CPU,
            WORKER_CPU,
            ratio("both ÷ L4n", "L4n", lambda each: each.own_cpu),
            POSTGRES_CPU,
            REDIS_CPU,
            MEMORY,
            DUPLICATES,
            LOST,
        ),
        "gentle": (ACCEPT_TIMES, RESULT_TIMES, CALLS, INTAKE_CPU, WORKER_CPU, POSTGRES_CPU, REDIS_CPU),
        "cap": (SECONDS, THROTTLED, CALLS, DUPLICATES, LOST),
        "flaky": (SECONDS, RELEASED, FAILED, UNDONE, DUPLICATES, LOST, CALLS),
    }
)


def table(scenario: Scenario, results: Results) -> list[str]:
    """Write the table of a scenario."""
    columns = COLUMNS[scenario.name]
    rows = [
        [target.title, *(column.cell(results, scenario.name, target) for column in columns)]
        for target in scenario.targets
        if results.has(scenario.name, target.name)
    ]
    return _markdown(["", *(column.heading for column in columns)], rows)


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(headings)} |",
        f"|{'---|' * len(headings)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
