"""One trial: a target, a scenario, servers without memory; what was seen as figures."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import aiohttp
import asyncpg

from bench.load.figures import Figures, Seen, figures_of
from bench.load.meter import Usage, usage_of
from bench.load.orders import Order, Sent, read_sent, write_order
from bench.load.processes import REPOSITORY, Command, environment_of, running
from bench.load.scenarios import Scenario
from bench.load.servers import Servers
from bench.load.targets import Addresses, Kind, Target, environment_for
from bench.load.vendor import write_rules
from bench.load.work import Work, count_items
from tests.support.stack import free_port

COUNT = {
    Kind.YARDSTICK: "SELECT count(done_at), count(done_at) FROM requests",
    Kind.SERVICE: (
        "SELECT count(*) FILTER (WHERE finished_at IS NOT NULL), count(*) FILTER (WHERE state = 'released')"
        " FROM release_requests"
    ),
}
RESULTS = {
    Kind.YARDSTICK: "SELECT id::text, extract(epoch FROM done_at)::float8 FROM requests WHERE done_at IS NOT NULL",
    Kind.SERVICE: (
        "SELECT id::text, extract(epoch FROM finished_at)::float8 FROM release_requests"
        " WHERE finished_at IS NOT NULL"
    ),
}
PATIENCE_SECONDS = 200.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the vendor has done, and how many requests have a result in Postgres, and a good one."""

    vendor: Mapping[str, float]
    finished: int
    released: int


NOTHING = Look(vendor=MappingProxyType({}), finished=0, released=0)


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
            "postgres": [self.postgres] if self.postgres else [],
            "redis": [self.redis] if self.redis else [],
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

    async def look(self) -> Look:
        """See how far everything is."""
        finished, released = await self.count()
        return Look(vendor=await self.vendor(), finished=finished, released=released)

    async def vendor(self) -> Mapping[str, float]:
        """Ask the vendor what it has done."""
        async with self.http.get(f"{self.addresses.vendor_url}/_report") as response:
            report: dict[str, float] = await response.json()
            return report

    async def count(self) -> tuple[int, int]:
        """Count requests with a result in Postgres, and with a good one."""
        row = await self.database.fetchrow(COUNT[self.target.kind])
        assert row is not None  # noqa: S101 - an aggregate has one
        return row[0], row[1]


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
            await stack.enter_async_context(running(start.worker(number)))
            for number in range(target.workers if scenario.has_workers else 0)
        ]
        intake = await stack.enter_async_context(running(start.intake()))
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
    """Warm up, send the work, wait, and count."""
    load = os.getloadavg()[0]
    if stage.scenario.warm_up.requests:
        await _wait_until_done(stage, await send(stage, stage.scenario.warm_up), stage.scenario.warm_up)
    first = await stage.look()
    before = stage.pids.usage()
    sent = await send(stage, stage.scenario.work, rate=stage.scenario.rate)
    done_at = await _wait_until_done(stage, sent, stage.scenario.work, since=first)
    after = stage.pids.usage()
    last = await stage.look()
    return figures_of(
        Seen(
            load=load,
            sent=sent,
            done_at=done_at,
            finished=last.finished - first.finished,
            released=last.released - first.released,
            asked_items=count_items(stage.scenario.work),
            vendor={name: last.vendor[name] - first.vendor[name] for name in last.vendor},
            usage=(before, after),
            results=await _results(stage) if stage.scenario.rate else {},
        )
    )


async def send(stage: Stage, work: Work, *, rate: float = 0.0) -> Sent:
    """Let the generator send a work."""
    order = Order(
        port=stage.addresses.port,
        path=stage.target.path,
        work=work,
        headers=dict(stage.headers),
        rate=rate,
        is_slow=stage.scenario.is_client_slow,
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
    if child.returncode != 0:
        raise RuntimeError(f"the generator ended with {child.returncode}")
    return read_sent(said)


async def _wait_until_done(stage: Stage, sent: Sent, work: Work, *, since: Look = NOTHING) -> float | None:
    """Return when the vendor had every item and Postgres every result; None where that did not come."""
    if not stage.scenario.has_workers:
        return time.time()
    items = since.vendor.get("items", 0) + count_items(work)
    while time.time() < sent.ended_at + PATIENCE_SECONDS:
        # To count costs Postgres time, so it is done at the end only.
        has_items = sent.refused or (await stage.vendor())["items"] >= items
        if has_items and (await stage.count())[0] - since.finished >= sent.accepted:
            return time.time()
        await asyncio.sleep(LOOK_SECONDS)
    return None


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

    def intake(self) -> Command:
        return self._part(self.target.intake_words, "intake", processes=self.target.intakes)

    def worker(self, number: int) -> Command:
        return self._part(self.target.worker_words, f"worker-{number}", processes=1)

    def _part(self, words: Sequence[str], name: str, *, processes: int) -> Command:
        environment = environment_for(self.target, self.addresses) | dict(self.scenario.environment)
        return Command(
            words=words, environment=environment, log=self.directory / f"{name}.log", processes=processes
        )
