"""Runs rounds and prints what came of them."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import click

from bench.load.scenarios import scenarios
from bench.load.servers import open_servers
from bench.load.trial import run_trial


async def measure(names: list[str], *, rounds: int, requests: int) -> None:
    async with open_servers() as servers:
        with tempfile.TemporaryDirectory(prefix="release-bench-") as directory:
            click.echo(servers.description)
            for number in range(rounds):
                for scenario in scenarios(requests):
                    if names and scenario.name not in names:
                        continue
                    for target in scenario.targets:
                        load = os.getloadavg()[0]
                        figures = await run_trial(target, scenario, servers, Path(directory))
                        click.echo(f"{number} {scenario.name} {target.name} load {load:.1f} {figures}")


if __name__ == "__main__":
    asyncio.run(measure(sys.argv[3:], rounds=int(sys.argv[1]), requests=int(sys.argv[2])))
