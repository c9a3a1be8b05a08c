"""Where the time goes: ``python -m bench.load.profile`` samples a process under load with py-spy.

It prints the functions that ran most, by themselves (self) and with what they called (total), as shares of the samples.
"""

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from bench.load.scenarios import Scenario, scenarios
from bench.load.servers import open_servers
from bench.load.targets import SERVICE
from bench.load.trial import Stage, perform, set_stage

SAMPLES_A_SECOND = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How many samples each function was in."""

    samples: int
    alone: Counter[str]
    total: Counter[str]
    #: Innermost C functions with the Python function that called them; with ``--native`` only.
    c_calls: Counter[str]


@asynccontextmanager
async def recorded(py_spy: str, pid: int, path: Path, *, is_native: bool) -> AsyncIterator[None]:
    """Sample a process until the end."""
    words = [py_spy, "record", "--pid", str(pid), "--rate", str(SAMPLES_A_SECOND), "--format", "raw"]
    words += ["--output", str(path), "--duration", "600", "--full-filenames"]
    child = await asyncio.create_subprocess_exec(
        *words,
        *(["--native"] if is_native else []),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await asyncio.sleep(1.0)
    try:
        yield
    finally:
        child.send_signal(signal.SIGINT)
        await child.wait()


def count_shares(lines: Iterable[str]) -> Shares:
    """Count folded stacks: ``outermost;...;innermost count``."""
    alone: Counter[str] = Counter()
    total: Counter[str] = Counter()
    c_calls: Counter[str] = Counter()
    samples = 0
    for line in lines:
        stack, _, times = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        samples += int(times)
        alone[frames[-1]] += int(times)
        total.update(dict.fromkeys(frames, int(times)))
        if not frames[-1].endswith(".py)"):
            caller = next((frame for frame in reversed(frames) if frame.endswith(".py)")), "-")
            c_calls[f"{frames[-1].partition(' ')[0]} of {caller}"] += int(times)
    return Shares(samples=samples, alone=alone, total=total, c_calls=c_calls)


def _short(frame: str) -> str:
    """Leave the line and most of the path out: ``function (path/in/package.py)``."""
    name, _, place = frame.partition(" (")
    path = place.rpartition(":")[0] or place.rstrip(")")
    for mark in ("site-packages/", "/lib/python3", "/service/"):
        if mark in path:
            path = ("service/" if mark == "/service/" else "") + path.rpartition(mark)[2]
            break
    return f"{name} ({path})"


def print_shares(title: str, shares: Shares, *, rows: int) -> None:
    """Print the lists."""
    lists = {"self": shares.alone, "total": shares.total, "C functions by caller": shares.c_calls}
    for kind, counts in lists.items():
        click.echo(f"\n### {title}, {kind} ({shares.samples} samples)\n\n| share | function |\n|---|---|")
        for name, times in counts.most_common(rows):
            click.echo(f"| {times / shares.samples:.1%} | `{name}` |")


def _watched(stage: Stage, part: str) -> int:
    return (stage.pids.intakes if part == "api" else stage.pids.workers)[0]


async def profile(scenario: Scenario, part: str, *, py_spy: str, rows: int, is_native: bool) -> None:
    """Run a scenario once with a process watched, and print what it did."""
    with tempfile.TemporaryDirectory(prefix="release-bench-") as name:
        path = Path(name) / "stacks"
        async with open_servers() as servers, set_stage(SERVICE, scenario, servers, Path(name)) as stage:
            async with recorded(py_spy, _watched(stage, part), path, is_native=is_native):
                figures = await perform(stage)
        lines = path.read_text(encoding="utf-8").splitlines()
        click.echo(f"accepted/s {figures.accepted_per_second:.0f}, done/s {figures.done_per_second or 0:.0f}")
        print_shares(f"{part} under {scenario.name}", count_shares(lines), rows=rows)


@click.command()
@click.option("--scenario", "name", default="burst", help="Which load.")
@click.option("--process", "part", type=click.Choice(["api", "worker"]), default="api")
@click.option("--requests", default=10_000)
@click.option("--rows", default=40)
@click.option("--py-spy", default="py-spy", help="Where py-spy is.")
@click.option("--native", "is_native", is_flag=True, help="Show C functions too; slower.")
def main(name: str, part: str, requests: int, rows: int, py_spy: str, *, is_native: bool) -> None:  # noqa: PLR0913 - one for each option
    """Sample a process of this service under load."""
    scenario = next(each for each in scenarios(requests) if each.name == name)
    asyncio.run(profile(scenario, part, py_spy=py_spy, rows=rows, is_native=is_native))


if __name__ == "__main__":
    main()
