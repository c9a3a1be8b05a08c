"""The whole service on servers of its own, with a link that may misbehave in front of each."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp

from service.commands.keys import create_key
from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from service.emulator.config import DEFAULT_PROJECT_ID, EmulatorConfig
from service.gateways.migrate import migrate
from tests.chaos.schedule import APIS, WORKERS
from tests.support.emulator import UNLIMITED, EmulatorProcess
from tests.support.link import Link
from tests.support.processes import ServiceProcess
from tests.support.servers import server_directory
from tests.support.stack import Stack, free_port

#: Calls per second, and at once, over all workers.
RATE = 16
CONCURRENCY = 4
CALL_TIMEOUT = 1.0
SETTINGS = MappingProxyType(
    {
        "RELEASE_AUTH": "keys",
        "RELEASE_VENDOR_RATE": str(RATE),
        "RELEASE_VENDOR_CONCURRENCY": str(CONCURRENCY),
        "RELEASE_CALL_TIMEOUT_SECONDS": str(CALL_TIMEOUT),
        "RELEASE_LEASE_SECONDS": "2",
        "RELEASE_GRACE_SECONDS": "2",
        "RELEASE_SETTLE_SECONDS": "2",
        "RELEASE_RECHECK_SECONDS": "0.5",
        "RELEASE_SWEEP_SECONDS": "0.5",
        "RELEASE_BACKOFF_BASE_SECONDS": "0.2",
        "RELEASE_BACKOFF_CAP_SECONDS": "2",
        "RELEASE_BATCH_LINGER_SECONDS": "0.5",
        "RELEASE_BATCH_MAX_ITEMS": "20",
        # Nothing fails for having met too many faults.
        "RELEASE_MAX_ATTEMPTS": "1000",
    }
)
#: What the emulator goes back to between faults.
GOOD_DAY = MappingProxyType({**UNLIMITED, "items": "listed", "already_packaged": "strict"})
CREATE_PACKAGE = b"/pending-items/package "
DATABASE_PASSWORD = "canary-of-the-database-password"


@dataclass(slots=True)
class Slot:
    """A place for a process, which is filled again after its end."""

    name: str
    settings: dict[str, str]
    process: ServiceProcess | None = None
    #: Whether the end of the process, if it comes, is our doing.
    is_ended_by_us: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """From the answer to a pause until somebody asked for its end, in Unix seconds."""

    workspace: str
    begins: float
    ends: float


@dataclass(slots=True, kw_only=True)
class World:
    """Servers, links, emulator and processes of a run."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    emulator: EmulatorProcess
    links: dict[str, Link]
    stack: Stack
    slots: dict[str, Slot]
    #: What must be in no log, no table and not in Redis.
    secrets: tuple[str, ...]
    #: Where the processes write.
    directory: Path
    valkey_directory: Path
    #: Items that the vendor refuses.
    poisoned: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)

    def api_url(self, number: int) -> str:
        """Return the base URL of an HTTP process."""
        return f"http://127.0.0.1:{self.slots[APIS[number]].settings['RELEASE_HTTP_PORT']}"

    async def register(self, workspace: str, items: Sequence[str], *, poisoned: Sequence[str] = ()) -> None:
        """Let the vendor know pending items, some of which it will refuse."""
        await self.emulator.register_items(workspace, [{"pending_item_id": item} for item in items])
        if poisoned:
            self.poisoned += poisoned
            await self.emulator.patch_faults({"poisoned_items": self.poisoned})

    async def order(self, method: str, workspace: str, action: str, members: Mapping[str, object]) -> None:
        """Settle something for a workspace, at one HTTP process or the other, until it is answered."""
        path = f"/v1/workspaces/{DEFAULT_PROJECT_ID}/{workspace}/{action}"
        for number in cycle(range(len(APIS))):
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self.stack.http.request(
                    method, self.api_url(number) + path, json=members, timeout=aiohttp.ClientTimeout(total=5)
                ) as response:
                    if response.status == HTTPStatus.OK:
                        return
            await asyncio.sleep(0.1)  # asks again; nothing waits for it

    def fill(self, name: str) -> None:
        """Start the process of a slot; it may have to wait for a server."""
        slot = self.slots[name]
        slot.process = self.stack.start(name.partition("-")[0], **slot.settings)
        slot.is_ended_by_us = False

    def expect_end(self, name: str) -> ServiceProcess:
        """Return the process of a slot, whose end will be our doing."""
        slot = self.slots[name]
        assert slot.process is not None
        slot.is_ended_by_us = True
        return slot.process

    async def wait_until_ready(self) -> None:
        """Wait until all processes have started."""
        for slot in self.slots.values():
            assert slot.process is not None
            await slot.process.wait_for_line("process.started", within=60.0)

    def bury_the_dead(self) -> None:
        """Note the processes that ended of their own accord, and start them anew."""
        for name, slot in self.slots.items():
            process = slot.process
            if process is None or slot.is_ended_by_us or process.returncode is None:
                continue
            self.deaths.append(f"{name} ended with {process.returncode}: {process.stderr[-2000:]}")
            self.fill(name)


@asynccontextmanager
async def running_world(directory: Path, *, already_packaged: str = "strict") -> AsyncIterator[World]:
    """Run everything: two HTTP processes and three workers, which reach each server through its link."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(EmbeddedPostgres(stack.enter_context(server_directory())))
        valkey_directory = stack.enter_context(server_directory())
        valkey = await stack.enter_async_context(
            EmbeddedValkey(
                valkey_directory,
                settings={"aof-use-rdb-preamble": "no", "rdbcompression": "no"},
            )
        )
        await migrate(postgres.url)
        created = await create_key(
            postgres.url, name="chaos", scopes=["read", "submit", "operate"], workspaces=["*/*"]
        )
        faults = {**GOOD_DAY, "already_packaged": already_packaged}
        emulator = await stack.enter_async_context(EmulatorProcess(directory, faults=faults))
        sockets = stack.enter_context(server_directory())
        links = _links(postgres, valkey, emulator, sockets)
        for link in links.values():
            await stack.enter_async_context(link.running())
        lent = Stack(
            database_url=postgres.url,
            redis_url=f"unix://{sockets / 'valkey.sock'}?db=0",
            emulator=emulator,
            directory=directory,
            settings={
                **SETTINGS,
                "RELEASE_DATABASE_URL": _database_url(postgres.url, sockets),
                "RELEASE_VENDOR_URL": f"http://127.0.0.1:{links['vendor'].port}",
            },
        )
        await stack.enter_async_context(lent)
        lent.http.headers["Authorization"] = f"Bearer {created.api_key}"
        world = World(
            postgres=postgres,
            valkey=valkey,
            emulator=emulator,
            links=links,
            stack=lent,
            slots=_slots(lent),
            secrets=(created.api_key, DATABASE_PASSWORD, *EmulatorConfig().access_keys.values()),
            directory=directory,
            valkey_directory=valkey_directory,
        )
        for name in world.slots:
            world.fill(name)
        await world.wait_until_ready()
        yield world


def _links(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, emulator: EmulatorProcess, sockets: Path
) -> dict[str, Link]:
    socket_name = ".s.PGSQL.5432"
    return {
        "postgres": Link(_socket_directory(postgres.url) / socket_name, listens_at=sockets / socket_name),
        "redis": Link(Path(urlsplit(valkey.url).path), listens_at=sockets / "valkey.sock"),
        "vendor": Link(urlsplit(emulator.url).port or 0, listens_at=0, watches_for=CREATE_PACKAGE),
    }


def _socket_directory(database_url: str) -> Path:
    return Path(parse_qs(urlsplit(database_url).query)["host"][0])


def _database_url(server_url: str, sockets: Path) -> str:
    netloc = f"postgres:{DATABASE_PASSWORD}@"
    return urlsplit(server_url)._replace(netloc=netloc, query=f"host={quote(str(sockets))}").geturl()


def _slots(stack: Stack) -> dict[str, Slot]:
    first, *others = APIS
    ports = {first: urlsplit(stack.url).port, **{name: free_port() for name in others}}
    apis = {name: Slot(name, {"RELEASE_HTTP_PORT": str(port)}) for name, port in ports.items()}
    return {**apis, **{name: Slot(name, {}) for name in WORKERS}}


async def end_process(process: ServiceProcess, *signals: signal.Signals) -> None:
    """Send signals, and wait for the end of the process."""
    for number in signals:
        process.send(number)
        await asyncio.sleep(0.05 if len(signals) > 1 else 0)
    await process.wait(within=20.0)
