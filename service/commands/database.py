"""Lends a command the database: at once, with the schema that this version needs, or not at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.deps import check_schema
from service.gateways.store.database import Database, PoolSize


@asynccontextmanager
async def open_database(database_url: str) -> AsyncIterator[Database]:
    """Lend a pool of one connection.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    try:
        await check_schema(database)
        yield database
    finally:
        await database.close()
