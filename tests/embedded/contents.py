"""Writes to a server of either kind and counts what it has."""

import asyncpg
import redis.asyncio

from service.embedded.postgres import EmbeddedPostgres
from service.embedded.server import EmbeddedServer

_MAKE = "CREATE TABLE IF NOT EXISTS kept (number integer)"
_WRITE = "INSERT INTO kept SELECT generate_series(1, $1::integer)"
_TIMEOUT_SECONDS = 1.0
_DISK_MILLISECONDS = 10_000


async def write(server: EmbeddedServer, *, count: int) -> None:
    """Commit so many rows or keys, and wait until they are on disk."""
    if isinstance(server, EmbeddedPostgres):
        await _write_rows(server.url, count=count)
    else:
        await _write_keys(server.url, count=count)


async def count(server: EmbeddedServer) -> int:
    """Return the number of rows or keys; a server that does not answer within a second is an error."""
    if isinstance(server, EmbeddedPostgres):
        return await _count_rows(server.url)
    return await _count_keys(server.url)


async def _write_rows(url: str, *, count: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_MAKE)
        await connection.execute(_WRITE, count)
    finally:
        await connection.close()


async def _count_rows(url: str) -> int:
    connection = await asyncpg.connect(url, timeout=_TIMEOUT_SECONDS)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM kept"))
    finally:
        await connection.close()


async def _write_keys(url: str, *, count: int) -> None:
    async with redis.asyncio.Redis.from_url(url) as client:
        for number in range(count):
            await client.set(f"kept:{number}", number)
        await client.execute_command("WAITAOF", 1, 0, _DISK_MILLISECONDS)


async def _count_keys(url: str) -> int:
    async with redis.asyncio.Redis.from_url(url, socket_timeout=_TIMEOUT_SECONDS) as client:
        return int(await client.dbsize())
