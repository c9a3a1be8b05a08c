"""Writes the results of all rounds: a Markdown page, its chart, and JSON for programs."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from bench.load.chart import Bar, Panel, chart
from bench.load.goals import goals_table
from bench.load.processes import REPOSITORY
from bench.load.scenarios import Scenario
from bench.load.summary import Read, Results
from bench.load.tables import table
from bench.load.targets import Kind

UNITS = (
    "Median over the rounds, in brackets the smallest and the largest; ratios are of the same round. CPU is in"
    " seconds for 1,000 accepted requests. What is counted is the sum of all rounds. What each target and scenario is:"
    " [docs/benchmark.md](../../docs/benchmark.md)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """When, where and with what was measured."""

    at: str
    commit: str
    machine: str
    servers: str
    rounds: int
    requests: int


def setting_of(*, servers: str, rounds: int, requests: int) -> Setting:
    """Describe this machine and this moment."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Setting(
        at=datetime.now(UTC).isoformat(timespec="minutes"),
        commit=_commit(),
        machine=f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}",
        servers=servers,
        rounds=rounds,
        requests=requests,
    )


def write_report(
    directory: Path, name: str, setting: Setting, chosen: Sequence[Scenario], results: Results
) -> Path:
    """Write all three files, and return the page."""
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / f"{name}.md"
    page.write_text(_page(name, setting, chosen, results), encoding="utf-8")
    (directory / f"{name}.svg").write_text(chart(_panels(chosen, results)), encoding="utf-8")
    (directory / f"{name}.json").write_bytes(_json(setting, results))
    return page


def _page(name: str, setting: Setting, chosen: Sequence[Scenario], results: Results) -> str:
    loads = [trial.figures.load for trial in results.trials]
    lines = [
        "# Measured",
        "",
        f"{setting.at}, commit {setting.commit}, on {setting.machine}.",
        f"PostgreSQL: {setting.servers}. Redis: Valkey with appendonly everysec, unless an address was given.",
        f"{setting.rounds} rounds, {setting.requests:,} requests. Load of the machine before a trial (1 minute):",
        f"{min(loads):.1f} to {max(loads):.1f}.",
        "",
        UNITS,
        "",
        f"![accepted and done requests a second]({name}.svg)",
        "",
        "## Numbers to reach",
        "",
        *goals_table(results),
    ]
    for scenario in chosen:
        heading = f"## {scenario.name}: {scenario.title}, {scenario.work.requests:,} requests"
        lines += ["", heading, "", *table(scenario, results)]
    return "\n".join([*lines, ""])


def _panels(chosen: Sequence[Scenario], results: Results) -> list[Panel]:
    reads: dict[str, tuple[str, Read]] = {
        "edge": ("Accepted requests a second, nobody releases", lambda each: each.accepted_per_second),
        "burst": ("Released requests a second", lambda each: each.done_per_second),
    }
    return [
        Panel(title=reads[scenario.name][0], bars=_bars(scenario, results, reads[scenario.name][1]))
        for scenario in chosen
        if scenario.name in reads
    ]


def _bars(scenario: Scenario, results: Results, read: Read) -> list[Bar]:
    spreads = [(target, results.spread(scenario.name, target.name, read)) for target in scenario.targets]
    return [
        Bar(label=target.title, spread=spread, is_ours=target.kind is Kind.SERVICE)
        for target, spread in spreads
        if spread is not None
    ]


def _json(setting: Setting, results: Results) -> bytes:
    document = {"setting": asdict(setting), "trials": [asdict(trial) for trial in results.trials]}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _commit() -> str:
    words = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(  # noqa: S603 - the words are ours
        words, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"
