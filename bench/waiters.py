"""What waiting callers cost: ``python -m bench.waiters 1000`` holds long polls and streams open, and reads CPU time."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import click

from bench.own_stack import own_stack
from tests.support.servers import children_of
from tests.support.stack import Stack, body

REQUESTS = 100
SECONDS = 20.0
#: Until every caller has had its first look.
SETTLE_SECONDS = 4.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of its children that live."""
    ticks = 0
    for each in (pid, *children_of(pid)):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def poll(session: aiohttp.ClientSession, address: str) -> None:
    """Ask again and again, each time for as long as may be."""
    while True:
        async with session.get(f"{address}?wait=30") as response:
            await response.read()


async def follow(session: aiohttp.ClientSession, address: str) -> None:
    """Listen to a stream."""
    async with session.get(f"{address}/events", headers={"Accept": "text/event-stream"}) as response:
        async for _ in response.content:
            pass


async def shares(stack: Stack, *, api: int, postgres: int, waiters: int) -> None:
    """Print the share of a core that the callers cost, first without them."""
    ids = await stack.submit_all(
        body(str(number), not_before="2099-01-01T00:00:00Z") for number in range(REQUESTS)
    )
    click.echo("| callers that wait | HTTP process | PostgreSQL |")
    click.echo("|---|---|---|")
    for kind, wait in (("none", None), (f"{waiters} long polls", poll), (f"{waiters} streams", follow)):
        async with AsyncExitStack() as tasks:
            for number in range(waiters if wait else 0):
                address = f"{stack.url}/v1/release-requests/{ids[number % REQUESTS]}"
                task = asyncio.create_task(wait(stack.http, address) if wait else asyncio.sleep(0))
                tasks.callback(task.cancel)
            await asyncio.sleep(SETTLE_SECONDS)
            before = cpu_seconds(api), cpu_seconds(postgres)
            await asyncio.sleep(SECONDS)
            after = cpu_seconds(api), cpu_seconds(postgres)
        used = [f"{(later - earlier) / SECONDS:.1%}" for earlier, later in zip(before, after, strict=True)]
        click.echo(f"| {kind} | {used[0]} | {used[1]} |")


async def measure(waiters: int) -> None:
    """Run an HTTP process on servers of its own, and measure."""
    async with own_stack() as own:
        api = await own.stack.start_api()
        await shares(own.stack, api=api.pid, postgres=own.postgres_pid, waiters=waiters)


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
