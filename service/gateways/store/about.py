"""Describes the database: its version, its schema, and whether its commits are durable."""

from dataclasses import dataclass
from typing import LiteralString

from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseServer:
    """A PostgreSQL, as it describes itself."""

    version: str
    #: The last migration that was applied.
    schema: str
    #: Whether a commit that was answered survives a loss of power.
    is_durable: bool
    size_bytes: int


DESCRIBE_DATABASE: LiteralString = """
SELECT
    current_setting('server_version') AS version,
    (SELECT max(version) FROM schema_migrations) AS schema,
    current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off' AS is_durable,
    pg_database_size(current_database()) AS size_bytes
"""


async def describe_database(connection: Connection) -> DatabaseServer:
    """Ask PostgreSQL about itself."""
    row = await connection.fetchrow(DESCRIBE_DATABASE)
    if row is None:
        raise AssertionError("a SELECT without FROM has one row")
    return DatabaseServer(
        version=row["version"],
        schema=row["schema"],
        is_durable=row["is_durable"],
        size_bytes=row["size_bytes"],
    )
