"""PostgreSQL and Redis of the measurements: embedded ones, or those whose addresses are given."""

import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import asyncpg

from bench.load.targets import Kind
from bench.yardsticks.table import SCHEMA
from service.commands.keys import create_key
from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from service.gateways.migrate import migrate
from tests.support.servers import Databases, RedisDatabases

DATABASE_URL = "RELEASE_BENCH_DATABASE_URL"
REDIS_URL = "RELEASE_BENCH_REDIS_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the servers are; process ids only of those that we have started."""

    databases: Databases
    redis_databases: RedisDatabases
    postgres_pid: int
    redis_pid: int
    #: Databases that each run gets a copy of.
    templates: dict[Kind, str]
    #: Works in every copy.
    api_key: str
    #: Where an embedded PostgreSQL writes.
    postgres_log: Path | None
    description: str


@asynccontextmanager
async def open_servers(*, settings: Mapping[str, str] = MappingProxyType({})) -> AsyncIterator[Servers]:
    """Lend servers, with a template for each kind of target; ``settings`` are of an embedded PostgreSQL."""
    given = os.environ.get(DATABASE_URL), os.environ.get(REDIS_URL)
    if given[0] and given[1]:
        async with _prepared(given[0], given[1], pids=(0, 0), log=None) as servers:
            yield servers
        return
    with tempfile.TemporaryDirectory(prefix="release-bench-", ignore_cleanup_errors=True) as name:
        async with (
            EmbeddedPostgres(Path(name) / "postgres", settings=settings) as postgres,
            EmbeddedValkey(Path(name) / "valkey") as valkey,
            _prepared(
                postgres.url,
                valkey.url,
                pids=(postgres.pid, valkey.pid),
                log=Path(name) / "postgres" / "server.log",
            ) as servers,
        ):
            yield servers


@asynccontextmanager
async def _prepared(
    database_url: str, redis_url: str, *, pids: tuple[int, int], log: Path | None
) -> AsyncIterator[Servers]:
    databases = Databases(database_url)
    yardsticks, service = await databases.create(), await databases.create()
    try:
        await _execute(databases.url(yardsticks), SCHEMA)
        await migrate(databases.url(service))
        key = await create_key(databases.url(service), name="bench", scopes=["submit"], workspaces=["*"])
        yield Servers(
            databases=databases,
            redis_databases=RedisDatabases(redis_url, numbers=[0]),
            postgres_pid=pids[0],
            redis_pid=pids[1],
            templates={Kind.YARDSTICK: yardsticks, Kind.SERVICE: service},
            api_key=key.api_key,
            postgres_log=log,
            description=await _describe(database_url),
        )
    finally:
        await databases.drop(yardsticks)
        await databases.drop(service)


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _describe(database_url: str) -> str:
    connection = await asyncpg.connect(database_url)
    try:
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
        values = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
    finally:
        await connection.close()
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
