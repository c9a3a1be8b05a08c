"""What the end of a retention costs those who ask meanwhile: ``python -m bench.pruning [REQUESTS]``.

A third of the requests of a grown database is dropped with its partitions, and another one deleted row by row, while
others are shown and handed in at an even pace; the same without either comes first.
"""

import asyncio
import itertools
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

import click

from bench.own_stack import own_stack
from service.core.ids import first_id_within
from service.core.request_periods import RequestPeriod
from service.flow.prune import prune_once
from service.gateways.store.database import Database, PoolSize
from service.gateways.store.request_periods import add_period
from tests.support.grown import grow
from tests.support.stack import Stack, body

REQUESTS = 150_000
#: Of what is in the period that is over, and how long that is before and behind it.
AGE = timedelta(days=40)
LENGTH = timedelta(days=5)
QUIET_SECONDS = 20.0
#: Between two of a kind.
EVERY_SECONDS = {"shown": 0.01, "listed": 0.05, "accepted": 0.02}
PAGE = "?page_size=50&workspace=ws-1"

Times = dict[str, list[float]]


class Callers:
    """Shows, lists and hands in requests, and keeps how long each took."""

    def __init__(self, stack: Stack, ids: Sequence[str]) -> None:
        self._stack = stack
        self._ids = itertools.cycle(ids)
        self._numbers = itertools.count()
        self.times: Times = defaultdict(list)

    async def call(self, kind: str, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask at an even pace, whether answers are there or not."""
        clock = asyncio.get_running_loop().time
        began_at = clock()
        async with asyncio.TaskGroup() as asked:
            for number in itertools.count():
                await asyncio.sleep(began_at + number * EVERY_SECONDS[kind] - clock())
                asked.create_task(self._time(kind, ask))

    async def _time(self, kind: str, ask: Callable[[], Awaitable[object]]) -> None:
        started = time.perf_counter()
        await ask()
        self.times[kind].append(1_000 * (time.perf_counter() - started))

    async def show(self) -> None:
        """Ask where a request stands that is kept."""
        await self._get(f"/{next(self._ids)}")

    async def list_page(self) -> None:
        """Read the first page of a workspace."""
        await self._get(PAGE)

    async def hand_in(self) -> None:
        """Hand in a request that waits for years."""
        await self._stack.submit(body(str(next(self._numbers)), not_before="2099-01-01T00:00:00Z"))

    async def _get(self, path: str) -> None:
        async with self._stack.http.get(f"{self._stack.url}/v1/release-requests{path}") as answer:
            answer.raise_for_status()
            await answer.read()


async def while_others_call(stack: Stack, ids: Sequence[str], done: Awaitable[object]) -> Times:
    """Wait for something while callers call; return how long each call took."""
    callers = Callers(stack, ids)
    calls = {"shown": callers.show, "listed": callers.list_page, "accepted": callers.hand_in}
    async with AsyncExitStack() as tasks:
        for kind, ask in calls.items():
            tasks.callback(asyncio.create_task(callers.call(kind, ask)).cancel)
        await done
    return callers.times


def row(title: str, times: Times) -> str:
    """Write the median, the 99th hundredth and the longest of each kind."""
    cells = [
        f"{statistics.median(seen):.1f} / {statistics.quantiles(seen, n=100)[98]:.1f} / {max(seen):.0f}"
        for seen in (times[kind] for kind in EVERY_SECONDS)
    ]
    return f"| {title} | {' | '.join(cells)} |"


async def compare(stack: Stack, database: Database, *, ways: Mapping[str, timedelta]) -> None:
    """Print what callers see without any pruning, and with what has ended before each of the retentions."""
    shown = await stack.http.get(f"{stack.url}/v1/release-requests?page_size=200")
    ids = [each["id"] for each in (await shown.json())["release_requests"]]
    quiet = await while_others_call(stack, ids, asyncio.sleep(QUIET_SECONDS))
    click.echo(f"| ms: p50 / p99 / longest | {' | '.join(EVERY_SECONDS)} |\n|---|---|---|---|")
    click.echo(row("nothing goes", quiet))
    for way, kept_for in ways.items():
        started = time.perf_counter()
        pruning = asyncio.create_task(prune_once(database, kept_for))
        busy = await while_others_call(stack, ids, pruning)
        seconds = time.perf_counter() - started
        click.echo(row(f"{pruning.result():,} requests are {way}, in {seconds:.0f} s", busy))


async def fill(database_url: str, *, requests: int) -> None:
    """Add a third of the requests in a period that is over, and the rest in the present one."""
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    old = RequestPeriod(
        name="old", from_id=first_id_within(AGE + 2 * LENGTH), to_id=first_id_within(AGE - LENGTH)
    )
    async with database.connection() as connection, connection.transaction():
        await add_period(connection, old)
    await database.close()
    await grow(database_url, requests=requests // 3, under_way=(), age=AGE)
    await grow(database_url, requests=requests - requests // 3)


async def measure(requests: int) -> None:
    """Fill servers of our own, and compare."""
    async with own_stack(fill=partial(fill, requests=requests)) as own:
        database = await Database.open(own.stack.database_url, PoolSize(smallest=1, largest=2))
        try:
            await own.stack.start_api()
            ways = {"dropped": AGE - LENGTH, "deleted": timedelta(seconds=requests / 3)}
            await compare(own.stack, database, ways=ways)
        finally:
            await database.close()


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS))
