"""Which statements PostgreSQL spends its time on: ``python -m bench.load.statements burst`` reads its log.

The bundled PostgreSQL has no pg_stat_statements, so it is told to log how long everything takes. The times are of the
clock: on a busy machine, and for what waits for a lock or the disk, they are longer than the work.
"""

import asyncio
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from bench.load.scenarios import Scenario, scenarios
from bench.load.servers import open_servers
from bench.load.targets import SERVICE
from bench.load.trial import perform, set_stage

LOGGING = {"log_min_duration_statement": "0", "log_line_prefix": "@"}
REQUESTS = 4_000
ROWS = 45
_ENTRY = re.compile(r"LOG: +duration: ([\d.]+) ms +(parse|bind|execute|statement)[^:]*: (.*)", re.DOTALL)
_SHOWN = 150


@dataclass(slots=True)
class Cost:
    """What one statement took in all."""

    times: int = 0
    milliseconds: float = 0.0


def costs_of(log: str) -> dict[str, Cost]:
    """Add up what each statement took, with its parsing and planning."""
    costs: dict[str, Cost] = defaultdict(Cost)
    for milliseconds, kind, text in _entries(log):
        cost = costs[text]
        cost.times += kind in {"execute", "statement"}
        cost.milliseconds += milliseconds
    return costs


def _entries(log: str) -> Iterator[tuple[float, str, str]]:
    for entry in log.split("\n@"):
        found = _ENTRY.search(entry)
        if found:
            yield float(found[1]), found[2], " ".join(found[3].split())


def print_costs(costs: Iterable[tuple[str, Cost]], *, requests: int) -> None:
    """Print the dearest."""
    click.echo("| ms a 1,000 requests | times | ms each | statement |\n|---|---|---|---|")
    for text, cost in sorted(costs, key=lambda pair: -pair[1].milliseconds)[:ROWS]:
        total = cost.milliseconds * 1_000 / requests
        each = cost.milliseconds / max(cost.times, 1)
        click.echo(f"| {total:.1f} | {cost.times} | {each:.3f} | `{text[:_SHOWN]}` |")


async def measure(scenario: Scenario) -> None:
    """Run a scenario once with this service."""
    with tempfile.TemporaryDirectory(prefix="release-bench-") as name:
        async with open_servers(settings=LOGGING) as servers:
            if servers.postgres_log is None:
                raise click.ClickException("a server that is given has a log of its own")
            async with set_stage(SERVICE, scenario, servers, Path(name)) as stage:
                start = servers.postgres_log.stat().st_size
                await perform(stage)
                log = servers.postgres_log.read_bytes()[start:].decode(errors="replace")
    print_costs(costs_of(log).items(), requests=scenario.work.requests)


if __name__ == "__main__":
    asyncio.run(measure(next(each for each in scenarios(REQUESTS) if each.name == sys.argv[1])))
