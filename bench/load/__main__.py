"""Runs rounds and writes what came of them: ``python -m bench.load --rounds 3 --requests 5000``."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from bench.load.processes import REPOSITORY
from bench.load.report import setting_of, write_report
from bench.load.rounds import Trial, run_rounds
from bench.load.scenarios import Scenario, scenarios, scenarios_of_peers
from bench.load.servers import open_servers
from bench.load.summary import Results
from bench.load.targets import PEERS


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--requests", default=5_000, show_default=True, help="Of edge and burst.")
@click.option("--scenario", "names", multiple=True, help="Only this one; may be repeated.")
@click.option("--peers", is_flag=True, help="Measure job queues beside this service.")
@click.option("--out", type=click.Path(path_type=Path), default=REPOSITORY / "bench" / "results")
def main(rounds: int, requests: int, names: tuple[str, ...], out: Path, *, peers: bool) -> None:
    """Measure this service beside yardsticks, or beside peers."""
    chosen = scenarios_of_peers(requests, PEERS) if peers else scenarios(requests)
    if names:
        chosen = [each for each in chosen if each.name in names]
    name = "peers" if peers else "bench"
    click.echo(asyncio.run(measure(chosen, rounds=rounds, requests=requests, page=out / name)))


async def measure(chosen: Sequence[Scenario], *, rounds: int, requests: int, page: Path) -> str:
    """Run all rounds, and return the page that tells what came of them."""
    trials: list[Trial] = []
    async with open_servers() as servers:
        with tempfile.TemporaryDirectory(prefix="release-bench-") as directory:
            async for trial in run_rounds(chosen, servers, Path(directory), rounds=rounds):
                trials.append(trial)
                click.echo(_line(trial), err=True)
    setting = setting_of(servers=servers.description, rounds=rounds, requests=requests)
    return write_report(page.parent, page.name, setting, chosen, Results(trials)).read_text(encoding="utf-8")


def _line(trial: Trial) -> str:
    seen = trial.figures
    done = f", done {seen.done_per_second:,.0f}/s" if seen.done_per_second else ""
    rates = f"accepted {seen.accepted_per_second:,.0f}/s{done}"
    return f"round {trial.round + 1} {trial.scenario:<7} {trial.target:<10} {rates}, load {seen.load:.1f}"


if __name__ == "__main__":
    main()
