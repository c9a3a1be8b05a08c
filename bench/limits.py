"""How much of a limit is used: ``python -m bench.limits`` prints calls per second at the vendor beside the limit.

Tests hold the other side, that no limit is passed: that does not depend on how busy the machine is.
"""

import asyncio
import itertools
import tempfile
from pathlib import Path

import click

from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from service.gateways.migrate import migrate
from tests.support.emulator import UNLIMITED
from tests.support.servers import Databases
from tests.support.stack import best_rate, body, running_stack

RATE = 8
CALLS = 160
WORKERS = (1, 2)
#: Batch keys with something to release: few have long queues, many are asked for in turns.
KEYS = (1, 4, 40)


async def calls_per_second(*, workers: int, keys: int, database_url: str, redis_url: str) -> float:
    """Let the workers empty full queues, and return the rate of all calls after the first two seconds."""
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        async with running_stack(
            database_url=database_url,
            redis_url=redis_url,
            directory=Path(name),
            faults={**UNLIMITED, "latency_seconds": 0.1},
            RELEASE_VENDOR_RATE=str(RATE),
            RELEASE_BATCH_MAX_ITEMS="1",
        ) as stack:
            await stack.start_api()
            ids = await stack.submit_all(
                body(str(number), workspace=f"ws-{number % keys}", applicant="applicant")
                for number in range(CALLS)
            )
            for _ in range(workers):
                await stack.start_worker()
            await stack.wait_until_at_rest(ids)
            calls = await stack.emulator.calls()
            return best_rate(calls, over=len(calls) - 2 * RATE)


async def measure() -> None:
    """Run all and print the table."""
    click.echo("| workers | batch keys | calls/s | of the limit |")
    click.echo("|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        async with (
            EmbeddedPostgres(Path(name) / "postgres") as postgres,
            EmbeddedValkey(Path(name) / "valkey") as valkey,
        ):
            for workers, keys in itertools.product(WORKERS, KEYS):
                async with Databases(postgres.url).fresh() as database_url:
                    await migrate(database_url)
                    rate = await calls_per_second(
                        workers=workers, keys=keys, database_url=database_url, redis_url=valkey.url
                    )
                click.echo(f"| {workers} | {keys} | {rate:.2f} | {rate / RATE:.0%} |")


if __name__ == "__main__":
    asyncio.run(measure())
