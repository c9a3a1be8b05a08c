"""Checks PostgreSQL, the schema in it, and Redis."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from service.commands.doctor.findings import Finding, bad, doubtful, good
from service.core.errors import ServiceError
from service.gateways import migrate
from service.gateways.migration_files import MigrationState, MigrationStatus
from service.gateways.queue import open_redis, translated
from service.gateways.store.database import Database, PoolSize

_OLDEST_POSTGRES = 15
_OLDEST_REDIS = (6, 2)
_ONE = PoolSize(smallest=1, largest=1)


async def check_postgres(url: str) -> list[Finding]:
    """Check that PostgreSQL lets us in, is new enough, and has the schema of this version."""
    place = shown_address(url)
    try:
        statuses = await migrate.status(url)
        version = await _postgres_version(url)
    except ServiceError as error:
        fix = f"start it, or correct RELEASE_DATABASE_URL, which names {place}"
        return [bad("database", _sentence(error), fix=fix)]
    return [_judge_postgres(version, place), judge_schema(statuses)]


async def _postgres_version(url: str) -> tuple[int, int]:
    database = await Database.open(url, _ONE)
    try:
        async with database.connection() as connection:
            found = connection.get_server_version()
    finally:
        await database.close()
    # Since version 10 PostgreSQL's second number is what others call the third.
    return found.major, found.micro


def _judge_postgres(version: tuple[int, int], place: str) -> Finding:
    named = f"PostgreSQL {version[0]}.{version[1]} at {place}"
    if version[0] < _OLDEST_POSTGRES:
        return bad("database", named, fix=f"use PostgreSQL {_OLDEST_POSTGRES} or later")
    return good("database", named)


def judge_schema(statuses: Sequence[MigrationStatus]) -> Finding:
    """Compare the migrations of a database with those of this version."""
    by_state: dict[MigrationState, list[str]] = {}
    for one in statuses:
        by_state.setdefault(one.state, []).append(one.version)
    last = statuses[-1].version if statuses else "none"
    if pending := by_state.get(MigrationState.PENDING):
        return bad("schema", f"{', '.join(pending)} not applied", fix="run `batch-release migrate`")
    if edited := by_state.get(MigrationState.EDITED):
        fix = "bring back the files that were applied; `batch-release migrate --status` shows them"
        return bad("schema", f"{', '.join(edited)} applied in another form than this version has", fix=fix)
    if unknown := by_state.get(MigrationState.UNKNOWN):
        fix = "nothing while versions are exchanged; else install the newer one everywhere"
        return doubtful("schema", f"{', '.join(unknown)} applied by a newer version", fix=fix)
    return good("schema", f"up to date, at {last}")


async def check_redis(url: str) -> list[Finding]:
    """Check that Redis lets us in, is new enough, and keeps what it is given."""
    redis = open_redis(url, max_connections=1, retries=0)
    try:
        with translated():
            info: Mapping[str, Any] = await redis.info()
    except ServiceError as error:
        fix = (
            f"start it, or correct RELEASE_REDIS_URL, which names {shown_address(url)}; "
            "requests are accepted meanwhile, and wait"
        )
        return [bad("redis", _sentence(error), fix=fix)]
    finally:
        await redis.aclose()
    return [_judge_redis(info, shown_address(url)), judge_persistence(info), judge_memory(info)]


def _judge_redis(info: Mapping[str, Any], place: str) -> Finding:
    version = str(info.get("redis_version", "0"))
    valkey = info.get("valkey_version")
    named = f"Valkey {valkey} at {place}" if valkey else f"Redis {version} at {place}"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST_REDIS:
        return bad("redis", named, fix="use Redis 6.2 or later, or Valkey")
    return good("redis", named)


def judge_persistence(info: Mapping[str, Any]) -> Finding:
    """Tell whether what producers have enqueued outlives a restart of Redis."""
    if info.get("aof_enabled"):
        return good("redis keeps", "every write is in the append-only file")
    fix = "set appendonly yes if producers use the queue door; the service itself loses only time"
    return doubtful("redis keeps", "no append-only file: a restart may lose what was enqueued last", fix=fix)


def judge_memory(info: Mapping[str, Any]) -> Finding:
    """Tell whether Redis may forget keys to make room."""
    policy = info.get("maxmemory_policy", "noeviction")
    if not info.get("maxmemory") or policy == "noeviction":
        return good("redis memory", "nothing is evicted")
    fix = "set maxmemory-policy noeviction"
    return doubtful("redis memory", f"keys may be evicted ({policy}), jobs of the queue door too", fix=fix)


def shown_address(url: str) -> str:
    """Return host, port and path of a server's address, without user, password and options."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "no address"
    socket = (parse_qs(parts.query).get("host") or [""])[0]
    return f"{parts.hostname or socket}{port}{parts.path}" or "no address"


def _sentence(error: ServiceError) -> str:
    return str(error).rstrip(".")
