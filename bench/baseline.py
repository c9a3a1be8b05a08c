"""Four faults, put to a plain arq worker and to this service: ``python -m bench.baseline`` prints a table.

The vendor is the emulator, once lax and once strict: whether the real one packages an item again is not known.
"""

import asyncio
import itertools
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import click
from redis.asyncio import Redis

from bench.plain_arq.system import Ours, PlainArq, System
from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from service.gateways.migrate import migrate
from tests.support.emulator import UNLIMITED, EmulatorProcess
from tests.support.servers import Databases
from tests.support.stack import body, running_stack
from tests.support.waiting import eventually

REQUESTS = 30
REST_SECONDS = 60.0
#: Nobody is told anything any more after so long without news.
QUIET_SECONDS = 20.0
WORKSPACE = "ws-1"
#: Of an item that is in a package already: packaged again, or refused.
READINGS = ("lax", "strict")
FAULTS = MappingProxyType(
    {
        **UNLIMITED,
        "authentication": "off",
        "items": "listed",
        "already_packaged": "lax",
        "latency_seconds": 0.3,
    }
)
SETTINGS = MappingProxyType(
    {
        "RELEASE_BATCH_MAX_ITEMS": "3",
        "RELEASE_CALL_TIMEOUT_SECONDS": "1",
        "RELEASE_LEASE_SECONDS": "2",
        "RELEASE_GRACE_SECONDS": "3",
        "RELEASE_SETTLE_SECONDS": "1",
        "RELEASE_RECHECK_SECONDS": "0.5",
        "RELEASE_SWEEP_SECONDS": "0.5",
    }
)
VANISHING = ("drop_after", "500_after", "hang_after", "garbage_200", "half_answer", "no_id_200")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of accepted requests."""

    requests: int
    #: In no package.
    lost: int
    #: In more than one package.
    doubled: int
    #: In a package, and the caller was told otherwise, or nothing.
    misled: int


async def crash(system: System, emulator: EmulatorProcess) -> list[str]:
    """Kill -9 the worker three times while calls are under way."""
    await system.start_worker()
    ids = [await system.submit(one) for one in _bodies()]
    for _ in range(3):
        await _see_more_calls(emulator, than=len(await emulator.calls()))
        system.workers[-1].send(signal.SIGKILL)
        await system.start_worker()
    return ids


async def vanish(system: System, emulator: EmulatorProcess) -> list[str]:
    """Let the vendor carry calls out and lose its answers in six ways."""
    rules = [{"fault": fault, "count": 2} for fault in VANISHING]
    await emulator.patch_faults({"rules": rules})
    await system.start_worker()
    return [await system.submit(one) for one in _bodies()]


async def flush(system: System, redis_url: str) -> list[str]:
    """Empty Redis while accepted requests wait for a worker."""
    ids = [await system.submit(one) for one in _bodies()]
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    await system.start_worker()
    return ids


async def freeze(system: System, emulator: EmulatorProcess) -> list[str]:
    """Stop a worker in the middle of its calls for longer than any lease, while another one works; wake it up."""
    await system.start_worker()
    ids = [await system.submit(one) for one in _bodies()]
    await _see_more_calls(emulator, than=5)
    system.workers[0].send(signal.SIGSTOP)
    await system.start_worker()
    await asyncio.sleep(QUIET_SECONDS)
    system.workers[0].send(signal.SIGCONT)
    return ids


def _bodies() -> list[Mapping[str, object]]:
    return [body(str(number), workspace=WORKSPACE) for number in range(1, REQUESTS + 1)]


async def _see_more_calls(emulator: EmulatorProcess, *, than: int) -> None:
    async def has_more() -> bool:
        return len(await emulator.calls()) > than

    await eventually(has_more, within=REST_SECONDS)


Scenario = Callable[[System, EmulatorProcess, str], Awaitable[list[str]]]
SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "kill -9 of the worker, three times": lambda system, emulator, _: crash(system, emulator),
        "12 answers lost after the effect": lambda system, emulator, _: vanish(system, emulator),
        "Redis emptied while requests wait": lambda system, _, url: flush(system, url),
        "worker frozen for 20 s, then woken": lambda system, emulator, _: freeze(system, emulator),
    }
)


async def count(system: System, emulator: EmulatorProcess, ids: list[str]) -> Tally:
    """Wait until everybody has been told, or nothing new is told for long; compare with the vendor's ledger."""
    told = await _told(system, ids)
    packaged = [item for package in await emulator.packages() for item in package["items"]]
    items = [str(number) for number in range(1, REQUESTS + 1)]
    return Tally(
        requests=len(ids),
        lost=sum(item not in packaged for item in items),
        doubled=sum(packaged.count(item) > 1 for item in items),
        misled=sum(
            item in packaged and told.get(request_id) != "released"
            for item, request_id in zip(items, ids, strict=True)
        ),
    )


async def _told(system: System, ids: list[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    news_at = time.monotonic()
    while len(told) < len(ids) and time.monotonic() < news_at + QUIET_SECONDS:
        for request_id in ids:
            word = None if request_id in told else await system.told(request_id)
            if word is not None:
                told[request_id], news_at = word, time.monotonic()
        await asyncio.sleep(0.2)
    return told


@asynccontextmanager
async def _vendor(directory: Path, reading: str) -> AsyncIterator[EmulatorProcess]:
    async with EmulatorProcess(directory, faults={**FAULTS, "already_packaged": reading}) as emulator:
        items = [{"pending_item_id": str(number)} for number in range(1, REQUESTS + 1)]
        await emulator.register_items(WORKSPACE, items)
        yield emulator


async def run_plain(scenario: Scenario, reading: str, redis_url: str) -> Tally:
    """Put a fault to the plain worker."""
    with tempfile.TemporaryDirectory() as name:
        async with (
            _vendor(Path(name), reading) as emulator,
            PlainArq(redis_url, emulator.url, Path(name)) as system,
        ):
            return await count(system, emulator, await scenario(system, emulator, redis_url))


async def run_ours(scenario: Scenario, reading: str, redis_url: str, database_url: str) -> Tally:
    """Put a fault to this service."""
    await migrate(database_url)
    with tempfile.TemporaryDirectory() as name:
        async with running_stack(
            database_url=database_url,
            redis_url=redis_url,
            directory=Path(name),
            faults={**FAULTS, "already_packaged": reading, "authentication": "required"},
            **SETTINGS,
        ) as stack:
            items = [{"pending_item_id": str(number)} for number in range(1, REQUESTS + 1)]
            await stack.emulator.register_items(WORKSPACE, items)
            await stack.start_api()
            system = Ours(stack)
            return await count(system, stack.emulator, await scenario(system, stack.emulator, redis_url))


async def compare() -> None:
    """Run all and print the table."""
    click.echo(
        "| fault | vendor | plain arq: lost | doubled | misled | this service: lost | doubled | misled |"
    )
    click.echo("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        async with (
            EmbeddedPostgres(Path(name) / "postgres") as postgres,
            EmbeddedValkey(Path(name) / "valkey") as valkey,
        ):
            for (title, scenario), reading in itertools.product(SCENARIOS.items(), READINGS):
                await _empty(valkey.url)
                plain = await run_plain(scenario, reading, valkey.url)
                await _empty(valkey.url)
                async with Databases(postgres.url).fresh() as database_url:
                    ours = await run_ours(scenario, reading, valkey.url, database_url)
                figures = (plain.lost, plain.doubled, plain.misled, ours.lost, ours.doubled, ours.misled)
                click.echo(f"| {title} | {reading} | {' | '.join(map(str, figures))} |")


async def _empty(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()


if __name__ == "__main__":
    asyncio.run(compare())
