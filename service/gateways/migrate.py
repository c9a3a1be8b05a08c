"""Brings a database's schema to where this version needs it.

Takes: a database's address and a directory of migrations.
Leaves: each migration applied once, and a row of ``schema_migrations`` written in the same transaction.
If it dies here: the transaction under way is undone, the lock falls with the connection, the next goes on.

Several may run at once: one applies, the others wait by asking for the lock again and again. They must not
block on it: a blocked query holds a snapshot, and ``CREATE INDEX CONCURRENTLY`` would wait for that for ever.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import LiteralString, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from service.core.errors import AccessError, DatabaseUnavailable, MigrationError
from service.gateways.migration_files import (
    AppliedMigration,
    Migration,
    MigrationState,
    MigrationStatus,
    compare,
    find_migrations,
    migrations_directory,
    plan,
)

# A string: asyncpg's classes are generic in their stubs alone.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

_CONNECT_SECONDS = 10.0
#: PostgreSQL's words for a role, a password, a database or a right that is not there. Waiting gives none of them.
_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
_POLL_SECONDS = 0.1
_MAX_WAIT = timedelta(minutes=10)
#: The bytes of "release" as a number: advisory locks are told apart by numbers alone.
_LOCK_KEY = int.from_bytes(b"release", "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What one run found and did; each is a tuple of versions in order."""

    applied: tuple[str, ...]
    already: tuple[str, ...]
    #: In the database, unknown to this version of the code.
    unknown: tuple[str, ...]


async def migrate(
    dsn: str, *, directory: Path | None = None, max_wait: timedelta = _MAX_WAIT
) -> MigrationReport:
    """Apply what the database does not have yet, from ``directory`` or the service's own migrations.

    Raises:
        MigrationError: A file is wrong, was edited after it was applied or failed, or another run took longer
            than ``max_wait``. What was applied before stays.
        DatabaseUnavailable: The database cannot be reached.
        AccessError: PostgreSQL does not let us in.
    """
    migrations = _find(directory)
    async with _connect(dsn) as connection, _lock(connection, max_wait=max_wait):
        await connection.execute(_CREATE_TABLE)
        before = await _read_applied(connection)
        todo = plan(migrations, before)
        for migration in todo:
            await _apply(connection, migration)
    return _report(migrations, before, todo=todo)


async def status(dsn: str, *, directory: Path | None = None) -> tuple[MigrationStatus, ...]:
    """Tell how each migration stands in the database, in order; changes nothing.

    Raises:
        MigrationError: A file is wrong.
        DatabaseUnavailable: The database cannot be reached.
        AccessError: PostgreSQL does not let us in.
    """
    migrations = _find(directory)
    async with _connect(dsn) as connection:
        return compare(migrations, await _read_applied(connection))


async def pending(connection: Connection, *, directory: Path | None = None) -> tuple[str, ...]:
    """Return the versions that this code needs and the database does not have; empty when it may start.

    Raises:
        MigrationError: A file is wrong.
    """
    statuses = compare(_find(directory), await _read_applied(connection))
    return tuple(one.version for one in statuses if one.state is MigrationState.PENDING)


def _find(directory: Path | None) -> tuple[Migration, ...]:
    return find_migrations(directory or migrations_directory())


def _report(
    migrations: tuple[Migration, ...], before: tuple[AppliedMigration, ...], *, todo: tuple[Migration, ...]
) -> MigrationReport:
    known = {migration.version for migration in migrations}
    versions = [row.version for row in before]
    return MigrationReport(
        applied=tuple(migration.version for migration in todo),
        already=tuple(version for version in versions if version in known),
        unknown=tuple(version for version in versions if version not in known),
    )


@asynccontextmanager
async def _connect(dsn: str) -> AsyncIterator[Connection]:
    try:
        connection = await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS, command_timeout=None)
    except _REFUSED as error:
        raise AccessError(f"PostgreSQL refuses ({error}): check the database URL.") from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(
            f"PostgreSQL cannot be reached ({error}): check the database URL."
        ) from error
    try:
        await connection.execute(_WATCH_CLIENT)
        yield connection
    except _REFUSED as error:
        raise AccessError(f"PostgreSQL refuses ({error}): check the rights of the role.") from error
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(f"PostgreSQL went away ({error}): run the migration again.") from error
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)


@asynccontextmanager
async def _lock(connection: Connection, *, max_wait: timedelta) -> AsyncIterator[None]:
    deadline = time.monotonic() + max_wait.total_seconds()
    while not await connection.fetchval(_TRY_LOCK, _LOCK_KEY):
        if time.monotonic() > deadline:
            raise MigrationError(
                "Another migration of this database is still running: wait for it, then try again."
            )
        await asyncio.sleep(_POLL_SECONDS)
    yield


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        if migration.is_transactional:
            async with connection.transaction():
                await _run(connection, migration)
        else:
            await _run(connection, migration)
    except asyncpg.PostgresConnectionError:
        raise
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.file_name} failed: {error}") from error


async def _run(connection: Connection, migration: Migration) -> None:
    started = time.monotonic()
    await connection.execute(
        _SET_TIMEOUTS, migration.lock_timeout, migration.statement_timeout, migration.is_transactional
    )
    for script in migration.scripts:
        await connection.execute(script)
    duration_ms = round((time.monotonic() - started) * 1000)
    await connection.execute(_RECORD, migration.version, migration.name, migration.checksum, duration_ms)


async def _read_applied(connection: Connection) -> tuple[AppliedMigration, ...]:
    if not await connection.fetchval(_HAS_TABLE):
        return ()
    rows = await connection.fetch(_READ_APPLIED)
    return tuple(
        AppliedMigration(version=row["version"], name=row["name"], checksum=row["checksum"]) for row in rows
    )


#: Frees the lock of a run that was killed in the middle of a statement.
_WATCH_CLIENT: LiteralString = "SET client_connection_check_interval = '1s'"

#: Takes the lock of migrations if nobody has it.
_TRY_LOCK: LiteralString = "SELECT pg_try_advisory_lock($1)"

#: Makes the table of applied migrations; ``version`` is dbmate's column, the rest is ours.
_CREATE_TABLE: LiteralString = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version     text PRIMARY KEY,
    name        text NOT NULL DEFAULT '',
    checksum    text NOT NULL DEFAULT '',
    applied_at  timestamptz NOT NULL DEFAULT now(),
    duration_ms integer NOT NULL DEFAULT 0
)
"""

#: Tells whether any migration was ever applied.
_HAS_TABLE: LiteralString = "SELECT to_regclass('schema_migrations') IS NOT NULL"

#: Reads what was applied, in order.
_READ_APPLIED: LiteralString = "SELECT version, name, checksum FROM schema_migrations ORDER BY version"

#: Sets the time limits, for the transaction or for the session.
_SET_TIMEOUTS: LiteralString = (
    "SELECT set_config('lock_timeout', $1, $3), set_config('statement_timeout', $2, $3)"
)

#: Notes that a migration was applied.
_RECORD: LiteralString = """
INSERT INTO schema_migrations (version, name, checksum, duration_ms) VALUES ($1, $2, $3, $4)
"""
