"""Where a request of this service waits: ``python -m bench.load.stages`` runs ``gentle`` once and reads its tables."""

import asyncio
import tempfile
from pathlib import Path

import asyncpg
import click

from bench.load.figures import percentile
from bench.load.scenarios import scenarios
from bench.load.servers import open_servers
from bench.load.targets import SERVICE
from bench.load.trial import perform, set_stage

REQUESTS = 500
STAGES = """
SELECT
    b.created_at - r.created_at AS "accepted to sealed",
    a.sent_at - b.created_at AS "sealed to sent",
    r.finished_at - a.sent_at AS "sent to result",
    r.finished_at - r.created_at AS "accepted to result"
FROM release_requests AS r
JOIN release_items AS i ON i.request_id = r.id AND i.position = 0
JOIN batches AS b ON b.id = i.batch_id
JOIN attempts AS a ON a.batch_id = b.id AND a.outcome = 'released'
"""


async def measure() -> None:
    """Run once, and print a row for each stage."""
    scenario = next(each for each in scenarios(REQUESTS) if each.name == "gentle")
    with tempfile.TemporaryDirectory(prefix="release-bench-") as name:
        async with (
            open_servers() as servers,
            set_stage(SERVICE, scenario, servers, Path(name)) as stage,
        ):
            await perform(stage)
            print_stages(await stage.database.fetch(STAGES))


def print_stages(rows: list[asyncpg.Record]) -> None:
    """Print the median and the 99th percentile of each stage; rows have the moments that transactions began at."""
    click.echo("| stage | p50, ms | p99, ms |\n|---|---|---|")
    for name in rows[0].keys():  # noqa: SIM118 - a record yields its values, not its names
        times = sorted(1_000 * row[name].total_seconds() for row in rows)
        click.echo(f"| {name} | {percentile(times, 50):.1f} | {percentile(times, 99):.1f} |")


if __name__ == "__main__":
    asyncio.run(measure())
