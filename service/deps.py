"""Opens everything that a process talks to, once, and closes it in reverse."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import TypeVar

import structlog
from arq.connections import ArqRedis

from service.background import running
from service.core.config import Settings
from service.core.credentials import Credentials
from service.core.errors import MigrationError, Unavailable
from service.core.failpoint import Failpoint, FailpointName
from service.core.ids import new_id
from service.core.telemetry import LogEvent
from service.core.tracing import Tracer
from service.gateways import migrate
from service.gateways.access import open_vendor, vendor_config
from service.gateways.doorbells import Doorbells
from service.gateways.endings import Endings
from service.gateways.metrics.lag import watch_lag
from service.gateways.metrics.process import Metrics
from service.gateways.permits import Permits
from service.gateways.queue import open_redis, translated
from service.gateways.store.changes import Changes
from service.gateways.store.database import Database, PoolSize
from service.gateways.tracing import open_tracer
from service.gateways.vendor.client import VendorClient
from service.gateways.vendor.hooks import Hooks

T = TypeVar("T")

HTTP_POOL = PoolSize(smallest=2, largest=16)
HEALTH_POOL = PoolSize(smallest=0, largest=4)
_START_RETRY_SECONDS = 1.0
_START_LOG_SECONDS = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Deps:
    """What every process of the service uses."""

    settings: Settings
    database: Database
    #: Four connections that nothing but health checks and scrapes uses.
    health_database: Database
    redis: ArqRedis
    doorbells: Doorbells
    changes: Changes
    metrics: Metrics
    tracer: Tracer


@dataclass(frozen=True, kw_only=True)
class WorkerDeps(Deps):
    """What a worker uses besides: the vendor, and leave to call it."""

    vendor: VendorClient
    permits: Permits
    #: Leave to read the vendor's lists.
    read_permits: Permits
    #: Names this process on leases.
    worker_name: str
    #: Where a test makes this process stop itself.
    failpoint: Failpoint


@asynccontextmanager
async def open_deps(
    settings: Settings, *, pool: PoolSize = HTTP_POOL, is_patient: bool = True
) -> AsyncIterator[Deps]:
    """Open what every process uses; one that is patient waits for PostgreSQL and a current schema, not for Redis.

    Raises:
        ConfigurationError: an address is not set, or what ``RELEASE_TRACING`` needs is not installed.
        DatabaseUnavailable: PostgreSQL does not answer, and nobody waits for it.
        MigrationError: the schema is not there, or behind, and nobody waits for it.
    """
    reach = wait_for if is_patient else reach_now
    database_url, redis_url = settings.require_servers()
    async with AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(open_tracer(settings.tracing, instance=new_worker_name()))
        database = await reach("PostgreSQL", lambda: Database.open(database_url, pool))
        stack.push_async_callback(database.close)
        await reach("the schema", lambda: check_schema(database))
        health_database = await Database.open(database_url, HEALTH_POOL)
        stack.push_async_callback(health_database.close)
        redis = open_redis(redis_url, max_connections=32, retries=1)
        stack.push_async_callback(redis.aclose)
        metrics = Metrics()
        endings = Endings(database, metrics)
        changes = Changes(database_url, database, on_told=endings.note)
        loops = changes.run(), changes.look_now_and_then(), changes.send_notices()
        await stack.enter_async_context(running(*loops, endings.run(), watch_lag(metrics)))
        yield Deps(
            settings=settings,
            database=database,
            health_database=health_database,
            redis=redis,
            doorbells=Doorbells(redis),
            changes=changes,
            metrics=metrics,
            tracer=tracer,
        )


@asynccontextmanager
async def open_worker_deps(
    settings: Settings, credentials: Credentials | None, *, pool_size: int, is_patient: bool = True
) -> AsyncIterator[WorkerDeps]:
    """Open what a worker uses; ``credentials`` are those found for ``RELEASE_VENDOR_AUTH=aksk``.

    Raises:
        ConfigurationError: an address or our credentials are not set; the servers' come first.
        DatabaseUnavailable: as of ``open_deps``.
        MigrationError: as of ``open_deps``.
    """
    settings.require_servers()
    config = vendor_config(settings, credentials)
    pool = PoolSize(smallest=2, largest=pool_size)
    failpoint = Failpoint(settings.failpoint)
    before_write = partial(failpoint.pass_point, FailpointName.BEFORE_WRITE)
    async with (
        open_deps(settings, pool=pool, is_patient=is_patient) as deps,
        open_vendor(
            settings,
            config,
            redis=deps.redis,
            database=deps.database,
            hooks=Hooks(before_write=before_write, on_call=deps.metrics.vendor.count_call),
        ) as access,
    ):
        shared = {field.name: getattr(deps, field.name) for field in fields(deps)}
        yield WorkerDeps(
            **shared,
            vendor=access.client,
            permits=access.creates,
            read_permits=access.reads,
            worker_name=new_worker_name(),
            failpoint=failpoint,
        )


@asynccontextmanager
async def open_arq_redis(settings: Settings, *, jobs: int) -> AsyncIterator[ArqRedis]:
    """Open the client that arq's workers use: patient, and with a connection for each running job."""
    _, redis_url = settings.require_servers()
    redis = open_redis(redis_url, max_connections=jobs + 8, retries=60)
    try:
        yield redis
    finally:
        await redis.aclose()


def new_worker_name() -> str:
    """Name this process so that no other ever had the name: host, process, and a part of a new id."""
    return f"{socket.gethostname()}:{os.getpid()}:{new_id().hex[-8:]}"


async def check_schema(database: Database) -> None:
    """Check that every migration that this version needs has been applied.

    Raises:
        MigrationError: one is missing.
    """
    async with database.connection() as connection:
        missing = await migrate.pending(connection)
    if missing:
        raise MigrationError(f"{', '.join(missing)} not applied: run `batch-release migrate`")


async def check_redis(redis: ArqRedis) -> None:
    """Check that Redis answers.

    Raises:
        QueueUnavailable: it does not.
    """
    with translated():
        await redis.ping()


async def reach_now(_name: str, connect: Callable[[], Awaitable[T]]) -> T:
    """Call ``connect`` once: whoever waits for a command wants to know."""
    return await connect()


async def wait_for(name: str, connect: Callable[[], Awaitable[T]]) -> T:
    """Call ``connect`` until it works, and say now and then what the start waits for."""
    loop = asyncio.get_running_loop()
    next_line = loop.time()
    while True:
        try:
            return await connect()
        except (Unavailable, MigrationError) as error:
            if loop.time() >= next_line:
                log.warning(LogEvent.START_DELAYED, waiting_for=name, reason=str(error))
                next_line = loop.time() + _START_LOG_SECONDS
        await asyncio.sleep(_START_RETRY_SECONDS)
