"""A stack on servers of its own, for measurements that start a process or two themselves."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from service.gateways.migrate import migrate
from tests.support.emulator import UNLIMITED
from tests.support.servers import Databases
from tests.support.stack import Stack, running_stack


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStack:
    """A stack without processes, and the server whose CPU time may be read."""

    stack: Stack
    postgres_pid: int


@asynccontextmanager
async def own_stack(
    *, fill: Callable[[str], Awaitable[None]] | None = None, **settings: str
) -> AsyncIterator[OwnStack]:
    """Start PostgreSQL, Valkey and an emulator without limits; ``fill`` is given the address of the database."""
    with tempfile.TemporaryDirectory(prefix="release-bench-", ignore_cleanup_errors=True) as name:
        async with (
            EmbeddedPostgres(Path(name) / "postgres") as postgres,
            EmbeddedValkey(Path(name) / "valkey") as valkey,
            Databases(postgres.url).fresh() as database_url,
        ):
            await migrate(database_url)
            if fill is not None:
                await fill(database_url)
            async with running_stack(
                database_url=database_url,
                redis_url=valkey.url,
                directory=Path(name),
                faults=UNLIMITED,
                **settings,
            ) as stack:
                yield OwnStack(stack=stack, postgres_pid=postgres.pid)
