"""Opens everything that a process talks to, once, and closes it in reverse."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import TypeVar

import structlog
from arq.connections import ArqRedis

from service.background import running
from service.core.config import Settings
from service.core.credentials import Credentials
from service.core.errors import ConfigurationError, MigrationError, Unavailable
from service.core.failpoint import Failpoint, FailpointName
from service.core.ids import new_id
from service.core.leasing import LeaseTimes
from service.core.limiter_memory import LimiterMemory
from service.core.telemetry import LogEvent
from service.gateways import migrate
from service.gateways.limits import READ, Credential, Limits
from service.gateways.metrics import Metrics
from service.gateways.permits import Permits
from service.gateways.queue import Doorbells, open_redis, translated
from service.gateways.store.changes import Changes
from service.gateways.store.database import Database, PoolSize
from service.gateways.store.limiter_memory import recall
from service.gateways.vendor.client import VendorClient
from service.gateways.vendor.config import Auth, TokenCredentials, VendorConfig
from service.gateways.vendor.endpoints import base_url_of

T = TypeVar("T")

HTTP_POOL = PoolSize(smallest=2, largest=16)
HEALTH_POOL = PoolSize(smallest=0, largest=2)
_START_RETRY_SECONDS = 1.0
#: Of the backoff base: how often one failed call may be repeated whatever else happens.
_RETRY_PERIOD = 6
_START_LOG_SECONDS = 10.0
#: What a permit that nobody hands back lasts beyond the time in which its call ends.
_AROUND_A_CALL = timedelta(seconds=1)

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Deps:
    """What every process of the service uses."""

    settings: Settings
    database: Database
    #: Two connections that nothing but health checks uses.
    health_database: Database
    redis: ArqRedis
    doorbells: Doorbells
    changes: Changes


@dataclass(frozen=True, kw_only=True)
class WorkerDeps(Deps):
    """What a worker uses besides: the vendor, and leave to call it."""

    vendor: VendorClient
    permits: Permits
    #: Leave to read the vendor's lists.
    read_permits: Permits
    metrics: Metrics
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
        ConfigurationError: an address is not set.
        DatabaseUnavailable: PostgreSQL does not answer, and nobody waits for it.
        MigrationError: the schema is not there, or behind, and nobody waits for it.
    """
    reach = wait_for if is_patient else reach_now
    database_url, redis_url = settings.require_servers()
    async with AsyncExitStack() as stack:
        database = await reach("PostgreSQL", lambda: Database.open(database_url, pool))
        stack.push_async_callback(database.close)
        await reach("the schema", lambda: check_schema(database))
        health_database = await Database.open(database_url, HEALTH_POOL)
        stack.push_async_callback(health_database.close)
        redis = open_redis(redis_url, max_connections=32, retries=1)
        stack.push_async_callback(redis.aclose)
        changes = Changes(database_url, database)
        await stack.enter_async_context(running(changes.run(), changes.look_now_and_then()))
        yield Deps(
            settings=settings,
            database=database,
            health_database=health_database,
            redis=redis,
            doorbells=Doorbells(redis),
            changes=changes,
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
        VendorClient(config, before_write=before_write) as vendor,
    ):
        credential = credential_of(config.auth)
        limits = limits_of(settings)
        read_limits = replace(limits, workspace_rate=0, workspace_concurrency=0, breaker=None)
        recalling = partial(recall_limits, deps.database)
        permits = Permits(deps.redis, limits, credential=credential, recall=recalling)
        read_permits = Permits(
            deps.redis, read_limits, credential=credential, operation=READ, recall=recalling
        )
        shared = {field.name: getattr(deps, field.name) for field in fields(deps)}
        yield WorkerDeps(
            **shared,
            vendor=vendor,
            permits=permits,
            read_permits=read_permits,
            metrics=Metrics(),
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


def vendor_config(settings: Settings, credentials: Credentials | None) -> VendorConfig:
    """Put together where the vendor is and who we are to it.

    Raises:
        ConfigurationError: something of it is not set; the message says what.
    """
    region = settings.region or (credentials.region if credentials else None)
    url = settings.vendor_url or (base_url_of(region) if region else None)
    if url is None:
        raise ConfigurationError(
            "RELEASE_REGION is not set: expected a region such as cn-north-4, or RELEASE_VENDOR_URL"
        )
    return VendorConfig(
        base_url=url,
        auth=_auth_of(settings, credentials),
        read_timeout=settings.call_timeout,
        call_timeout=settings.call_timeout,
        max_connections=settings.vendor_concurrency + 8,
    )


def _auth_of(settings: Settings, credentials: Credentials | None) -> Auth:
    match settings.vendor_auth:
        case "none":
            return None
        case "aksk":
            if credentials is None:
                raise ConfigurationError(
                    "no vendor credentials found: expected HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, "
                    "or another of the places in docs/configuration.md"
                )
            return credentials.key
        case "token":
            if not (settings.iam_url and settings.iam_user and settings.iam_password and settings.iam_domain):
                raise ConfigurationError(
                    "RELEASE_VENDOR_AUTH=token needs RELEASE_IAM_URL, RELEASE_IAM_USER, RELEASE_IAM_PASSWORD "
                    "and RELEASE_IAM_DOMAIN; one of them is not set"
                )
            return TokenCredentials(
                iam_url=settings.iam_url,
                user=settings.iam_user,
                password=settings.iam_password.get_secret_value(),
                domain=settings.iam_domain,
            )


def limits_of(settings: Settings) -> Limits:
    """Return the limits that all workers share."""
    return Limits(
        rate=settings.vendor_rate,
        workspace_rate=settings.workspace_rate,
        concurrency=settings.vendor_concurrency,
        permit_life=LeaseTimes.of(settings).is_quiet_after + _AROUND_A_CALL,
        workspace_concurrency=settings.workspace_concurrency,
        retry_share=settings.retry_budget,
        retry_period=settings.backoff_base * _RETRY_PERIOD,
        breaker=settings.breaker_policy,
    )


async def recall_limits(database: Database, credential: str) -> LimiterMemory:
    """Return what is known in Postgres of what holds the calls of a credential back.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    async with database.connection() as connection:
        return await recall(connection, credential)


def credential_of(auth: Auth) -> Credential:
    """Name a credential in Redis without showing it."""
    match auth:
        case None:
            return Credential(name="none", key_digest="none", has_to_prove_itself=False)
        case TokenCredentials():
            identity, secret = f"{auth.domain}/{auth.user}", auth.password
        case _:
            identity, secret = auth.access_key, auth.secret_key
    return Credential(name=_digest(identity), key_digest=_digest(f"{identity}\n{secret}"))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


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
