"""Looks into the database of a test, past the service."""

from typing import Any

import asyncpg


async def fetch_value(database_url: str, query: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the query selects
    """Run one statement and return the first value of its first row, or None where it has none."""
    connection = await asyncpg.connect(database_url)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


async def fetch_rows(database_url: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement and return its rows."""
    connection = await asyncpg.connect(database_url)
    try:
        return await connection.fetch(query, *arguments)
    finally:
        await connection.close()


async def count_requests(database_url: str) -> int:
    """Return how many release requests are stored."""
    count: int = await fetch_value(database_url, "SELECT count(*) FROM release_requests")
    return count


async def release_all(database_url: str) -> None:
    """Let every request be released, as far as the request itself shows it."""
    await fetch_value(database_url, "UPDATE release_requests SET state = 'released', finished_at = now()")
