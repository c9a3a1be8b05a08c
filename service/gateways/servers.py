"""Describes the servers that the service runs on: their versions, and what they keep over a restart."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from service.gateways.queue import translated


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A Redis, or what speaks its protocol; None where it does not say."""

    kind: str
    version: str | None
    #: Whether it writes each change to a file.
    has_log: bool | None
    snapshot_at: datetime | None
    #: What it throws away when its memory is full; nothing of ours may be.
    eviction: str | None


async def describe_redis(redis: Redis) -> RedisServer:
    """Ask Redis about itself; one that may not be asked says nothing.

    Raises:
        QueueUnavailable: it does not answer.
    """
    with translated():
        try:
            info = await redis.info()
        except ResponseError:
            info = {}
    return read_info(info)


def read_info(info: Mapping[str, Any]) -> RedisServer:
    """Read what INFO answers."""
    is_valkey = info.get("server_name") == "valkey"
    saved, has_log = info.get("rdb_last_save_time"), info.get("aof_enabled")
    version = info.get("valkey_version" if is_valkey else "redis_version")
    return RedisServer(
        kind="Valkey" if is_valkey else "Redis",
        version=None if version is None else str(version),
        has_log=None if has_log is None else bool(has_log),
        snapshot_at=datetime.fromtimestamp(saved, UTC) if isinstance(saved, int) and saved else None,
        eviction=info.get("maxmemory_policy"),
    )
