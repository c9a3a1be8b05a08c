"""What a million finished requests cost: ``python -m bench.growth [REQUESTS] [ROUNDS]``.

The same is done with empty tables and with full ones, in turn: requests are accepted, shown, and listed. Each number is
that of the full tables, and what it is divided by the same of the empty ones: the median of the rounds.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click

from bench.load.scenarios import Scenario
from bench.load.servers import Servers, open_servers
from bench.load.targets import SERVICE, Kind
from bench.load.trial import Stage, perform, set_stage
from bench.load.work import Work
from service.commands.keys import create_key
from tests.support.grown import grow

REQUESTS = 1_000_000
ROUNDS = 5
READS = 300
ACCEPT = Scenario(
    name="growth",
    title="Accept, show and list",
    targets=(SERVICE,),
    work=Work(requests=10_000),
    has_workers=False,
)
LISTS = {
    "a page": "",
    "a page of a workspace": "workspace=ws-1",
    "a page in a state": "state=accepted",
    "a page of a workspace in a state": "workspace=ws-1&state=accepted",
    "a page of an item": "item=17",
    "a page of a key": "idempotency_key=bench-17",
}
IDS = "SELECT id::text FROM release_requests ORDER BY md5(id::text) LIMIT $1"

Seen = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """Servers that copy empty tables, and such that copy full ones."""

    empty: Servers
    full: Servers


@asynccontextmanager
async def templates(servers: Servers, *, requests: int) -> AsyncIterator[Templates]:
    """Make databases to copy, with a key that may read."""
    databases = servers.databases
    empty = await databases.create(template=servers.templates[Kind.SERVICE])
    key = await create_key(databases.url(empty), name="growth", scopes=["read", "submit"], workspaces=["*"])
    full = await databases.create(template=empty)
    try:
        started = time.perf_counter()
        await grow(databases.url(full), requests=requests)
        click.echo(f"{requests:,} requests in {time.perf_counter() - started:.0f} s")
        yield Templates(
            empty=replace(servers, templates={Kind.SERVICE: empty}, api_key=key.api_key),
            full=replace(servers, templates={Kind.SERVICE: full}, api_key=key.api_key),
        )
    finally:
        await databases.drop(empty)
        await databases.drop(full)


async def play(both: Templates) -> tuple[Seen, Seen]:
    """Do everything once on fresh copies."""
    with tempfile.TemporaryDirectory(prefix="release-bench-") as name, tempfile.TemporaryDirectory() as other:
        async with (
            set_stage(SERVICE, ACCEPT, both.empty, Path(name)) as empty,
            set_stage(SERVICE, ACCEPT, both.full, Path(other)) as full,
        ):
            accepted = [await _accept(stage) for stage in (empty, full)]
            read = await _read(empty, full)
    return accepted[0] | read[0], accepted[1] | read[1]


async def _accept(stage: Stage) -> Seen:
    figures = await perform(stage)
    return {
        "accepted/s": figures.accepted_per_second,
        "accepted, PostgreSQL's CPU s per 1,000": figures.postgres_cpu or 0.0,
        "accepted, p99 ms": figures.accept_p99_ms,
    }


async def _read(*stages: Stage) -> Sequence[Seen]:
    """Ask each in turn, so that whatever else happens on the machine meets all of them."""
    times: Sequence[defaultdict[str, list[float]]] = [defaultdict(list) for _ in stages]
    ids = [[row[0] for row in await stage.database.fetch(IDS, READS)] for stage in stages]
    for number in range(READS):
        for place, stage in enumerate(stages):
            for name, path in _reads(ids[place][number]):
                times[place][name].append(await _time(stage, path))
    return [dict(_quantiles(seen)) for seen in times]


def _reads(request_id: str) -> Iterator[tuple[str, str]]:
    yield "status", f"/v1/release-requests/{request_id}"
    for name, query in LISTS.items():
        yield name, f"/v1/release-requests?page_size=50&{query}"


async def _time(stage: Stage, path: str) -> float:
    started = time.perf_counter()
    url = f"http://127.0.0.1:{stage.addresses.port}{path}"
    async with stage.http.get(url, headers=stage.headers) as answer:
        answer.raise_for_status()
        await answer.read()
    return 1_000 * (time.perf_counter() - started)


def _quantiles(seen: dict[str, list[float]]) -> Iterator[tuple[str, float]]:
    for name, milliseconds in seen.items():
        yield f"{name}, p50 ms", statistics.median(milliseconds)
        yield f"{name}, p99 ms", statistics.quantiles(milliseconds, n=100)[98]


async def measure(requests: int, rounds: int) -> None:
    """Play rounds, and print what the full tables cost."""
    async with open_servers() as servers, templates(servers, requests=requests) as both:
        played = []
        for number in range(rounds):
            played.append(await play(both))
            click.echo(f"round {number + 1}", err=True)
    click.echo("| | empty | full | full ÷ empty (least, most) |\n|---|---|---|---|")
    for name in played[0][0]:
        empty, full = ([seen[side][name] for seen in played] for side in (0, 1))
        ratios = [f / max(e, 1e-9) for e, f in zip(empty, full, strict=True)]
        click.echo(
            f"| {name} | {statistics.median(empty):,.3g} | {statistics.median(full):,.3g}"
            f" | {statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    asyncio.run(measure(*(given + [REQUESTS, ROUNDS][len(given) :])))
