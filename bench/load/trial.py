"""One trial: a target, a scenario, servers without memory; what was seen as figures."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from bench.load.figures import Figures, figures_of
from bench.load.generator import Order, Sent, read_sent, write_order
from bench.load.meter import Usage, usage_of
from bench.load.processes import REPOSITORY, Command, environment_of, running
from bench.load.scenarios import Scenario
from bench.load.servers import Servers
from bench.load.targets import Addresses, Kind, Target, environment_for
from bench.load.vendor import write_rules
from bench.load.work import count_items
from tests.support.stack import free_port

COUNT_DONE = {
    Kind.YARDSTICK: "SELECT count(*) FROM requests WHERE done_at IS NOT NULL",
    Kind.SERVICE: "SELECT count(*) FROM release_requests WHERE finished_at IS NOT NULL",
}
RESULTS = {
    Kind.YARDSTICK: "SELECT id::text, extract(epoch FROM done_at)::float8 FROM requests WHERE done_at IS NOT NULL",
    Kind.SERVICE: (
        "SELECT id::text, extract(epoch FROM finished_at)::float8 FROM release_requests"
        " WHERE finished_at IS NOT NULL"
    ),
}
PATIENCE_SECONDS = 150.0
LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Pids:
    """The processes whose use is measured; 0 where there is none of ours."""

    intakes: Sequence[int]
    workers: Sequence[int]
    postgres: int
    redis: int
    vendor: int

    def usage(self) -> dict[str, list[Usage]]:
        """Return what each has used so far."""
        groups = {
            "intake": self.intakes,
            "worker": self.workers,
            "postgres": [self.postgres],
            "redis": [self.redis],
            "vendor": [self.vendor],
        }
        return {name: [usage_of(pid) for pid in pids] for name, pids in groups.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A target that runs, and what can be asked around it."""

    target: Target
    scenario: Scenario
    addresses: Addresses
    pids: Pids
    headers: Mapping[str, str]
    database: "asyncpg.Connection[asyncpg.Record]"
    http: aiohttp.ClientSession

    async def vendor_report(self) -> dict[str, Any]:
        """Return what the vendor has done so far."""
        async with self.http.get(f"{self.addresses.vendor_url}/_report") as response:
            report: dict[str, Any] = await response.json()
            return report

    async def count_done(self) -> int:
        """Return how many requests have a result in Postgres."""
        return int(await self.database.fetchval(COUNT_DONE[self.target.kind]))


async def run_trial(target: Target, scenario: Scenario, servers: Servers, directory: Path) -> Figures:
    """Start everything anew, send the work, and wait until it is done."""
    async with set_stage(target, scenario, servers, directory) as stage:
        return await perform(stage)


@asynccontextmanager
async def set_stage(
    target: Target, scenario: Scenario, servers: Servers, directory: Path
) -> AsyncIterator[Stage]:
    """Start the vendor and the target on an empty database, and lend them."""
    async with AsyncExitStack() as stack:
        template = servers.templates[target.kind]
        addresses = Addresses(
            port=free_port(),
            database_url=await stack.enter_async_context(servers.databases.fresh(template=template)),
            redis_url=await servers.redis_databases.fresh(),
            vendor_url=f"http://127.0.0.1:{free_port()}",
        )
        start = _Start(target=target, scenario=scenario, addresses=addresses, directory=directory)
        vendor = await stack.enter_async_context(running(start.vendor()))
        workers = [
            await stack.enter_async_context(running(start.part(target.worker, f"worker-{number}")))
            for number in range(scenario.workers)
        ]
        intake = await stack.enter_async_context(running(start.part(start.intake_words(), "intake")))
        database = await asyncpg.connect(addresses.database_url)
        stack.push_async_callback(database.close)
        yield Stage(
            target=target,
            scenario=scenario,
            addresses=addresses,
            pids=Pids(
                intakes=[intake],
                workers=workers,
                postgres=servers.postgres_pid,
                redis=servers.redis_pid,
                vendor=vendor,
            ),
            headers={"Authorization": f"Bearer {servers.api_key}"},
            database=database,
            http=await stack.enter_async_context(aiohttp.ClientSession()),
        )


async def perform(stage: Stage) -> Figures:
    """Send the work, wait, and count."""
    before = stage.pids.usage()
    sent = await send(stage)
    is_done = await _wait_until_done(stage, sent) if stage.scenario.workers else True
    done_at = time.time()
    after = stage.pids.usage()
    report = await stage.vendor_report()
    return figures_of(
        sent=sent,
        done_at=done_at if is_done else None,
        done=await stage.count_done() if stage.scenario.workers else 0,
        asked_items=count_items(stage.scenario.work),
        vendor=report,
        usage=(before, after),
        results=await _results(stage) if stage.scenario.rate else {},
    )


async def send(stage: Stage) -> Sent:
    """Let the generator send the work."""
    order = Order(
        port=stage.addresses.port,
        path=stage.target.path,
        work=stage.scenario.work,
        headers=dict(stage.headers),
        rate=stage.scenario.rate,
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load.generator",
        write_order(order),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env=environment_of({}),
        limit=1 << 26,
    )
    assert child.stdout is not None  # noqa: S101 - asked for
    if not await child.stdout.readline():
        raise RuntimeError("the generator ended before it was ready")
    said, _ = await child.communicate(b"go\n")
    return read_sent(said)


async def _wait_until_done(stage: Stage, sent: Sent) -> bool:
    give_up_at = time.time() + PATIENCE_SECONDS
    items = count_items(stage.scenario.work)
    while time.time() < give_up_at:
        report = await stage.vendor_report()
        if (report["items"] >= items or sent.refused) and await stage.count_done() >= sent.accepted:
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return False


async def _results(stage: Stage) -> dict[str, float]:
    rows = await stage.database.fetch(RESULTS[stage.target.kind])
    return {row[0]: row[1] for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    target: Target
    scenario: Scenario
    addresses: Addresses
    directory: Path

    def vendor(self) -> Command:
        port = self.addresses.vendor_url.rpartition(":")[2]
        words = [sys.executable, "-m", "bench.load.vendor", port, write_rules(self.scenario.rules)]
        return Command(words=words, environment={}, log=self.directory / "vendor.log")

    def intake_words(self) -> Sequence[str]:
        more = self.scenario.intakes > 1
        return [*self.target.intake, *(["--processes", str(self.scenario.intakes)] if more else [])]

    def part(self, words: Sequence[str], name: str) -> Command:
        environment = environment_for(self.target, self.addresses) | dict(self.scenario.environment)
        return Command(
            words=[self.target.python, *words], environment=environment, log=self.directory / f"{name}.log"
        )
