"""How long the pages of the console take with many requests there: ``python -m bench.console [REQUESTS] [ROUNDS]``.

One HTTP process on servers of its own, and no worker. A page is asked for once right after the start of the process,
and then some times in turn with the others; the times are those of whoever asks, over one connection.
"""

import asyncio
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import asyncpg
import click

from bench.own_stack import own_stack
from service.commands.keys import create_key
from tests.support.console_paths import CALLERS, paths_of
from tests.support.grown import BUSY, grow
from tests.support.kept import keep
from tests.support.stack import Stack

REQUESTS = 100_000
ROUNDS = 25
#: It says what it found, or that it runs; the others are those that are tested for what they read.
AUDIT = "/audit/report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What it took to be shown a page."""

    milliseconds: float
    size: int


async def fill(database_url: str, *, requests: int) -> None:
    """Add so many requests of a busy day, and what operators leave behind."""
    started = time.perf_counter()
    await grow(database_url, requests=requests, under_way=BUSY)
    await keep(database_url, entries=requests // 2)
    click.echo(f"{requests:,} requests in {time.perf_counter() - started:.0f} s", err=True)


async def log_in(stack: Stack, workspaces: Sequence[str]) -> str:
    """Make a key for the workspaces, and return the cookie of its session."""
    key = await create_key(stack.database_url, name="bench", scopes=["admin"], workspaces=workspaces)
    headers = {"Sec-Fetch-Site": "same-origin"}
    async with stack.http.post(
        f"{stack.url}/login", data={"api_key": key.api_key}, headers=headers, allow_redirects=False
    ) as answer:
        answer.raise_for_status()
        return answer.headers["Set-Cookie"].partition(";")[0]


async def look(stack: Stack, path: str, cookie: str) -> Seen:
    """Ask for a page, which must be shown."""
    started = time.perf_counter()
    url = f"{stack.url}{path}"
    async with stack.http.get(url, headers={"Cookie": cookie}, allow_redirects=False) as answer:
        text = await answer.read()
        answer.raise_for_status()
    return Seen(milliseconds=1_000 * (time.perf_counter() - started), size=len(text))


async def measure(requests: int, rounds: int) -> None:
    """Fill a database, ask for every page in turn, and print what each took."""
    async with own_stack(fill=partial(fill, requests=requests), RELEASE_AUTH="keys") as own:
        stack = own.stack
        connection = await asyncpg.connect(stack.database_url)
        paths = await paths_of(connection)
        await connection.close()
        paths["admin"] += (AUDIT,)
        await stack.start_api()
        cookies = {caller: await log_in(stack, workspaces) for caller, workspaces in CALLERS.items()}
        seen: defaultdict[tuple[str, str], list[Seen]] = defaultdict(list)
        for _ in range(rounds):
            for caller, some in paths.items():
                for path in some:
                    seen[caller, path].append(await look(stack, path, cookies[caller]))
    click.echo("| page | of whom | first ms | median ms | 95 % ms | KB |\n|---|---|---|---|---|---|")
    for (caller, path), looks in seen.items():
        first, *others = (one.milliseconds for one in looks)
        click.echo(
            f"| `{_short(path)}` | {caller} | {first:.0f} | {statistics.median(others):.0f}"
            f" | {statistics.quantiles(others, n=20)[-1]:.0f} | {looks[0].size / 1_000:.0f} |"
        )


def _short(path: str) -> str:
    """Leave out of an address what nobody reads."""
    shown, *_ = re.split(r"(?<=page_token=)|(?<=&id=)|(?<=&left=)", path, maxsplit=1)
    return shown if shown == path else f"{shown}…"


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    asyncio.run(measure(*(given + [REQUESTS, ROUNDS][len(given) :])))
