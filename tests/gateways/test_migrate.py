import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from service.core.errors import DatabaseUnavailable, MigrationError
from service.gateways.migrate import MigrationReport, migrate, pending, status
from service.gateways.migration_files import MigrationState
from tests.support.waiting import eventually

Write = Callable[..., None]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

#: Runs the migrations of a directory in a process that can be killed.
MIGRATE = """
import asyncio, pathlib, sys
from service.gateways.migrate import migrate
asyncio.run(migrate(sys.argv[1], directory=pathlib.Path(sys.argv[2])))
"""
#: Counts the other connections to this database whose last query has this in it.
COUNT_BUSY_WITH = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND strpos(query, $1) > 0
"""
HAS_VALID_INDEX = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('by_number')"
#: Takes the lock that a run takes.
LOCK = """
SELECT pg_advisory_lock(key) FROM (SELECT ('x' || encode('release', 'hex'))::bit(56)::bigint AS key) AS k
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def write(directory: Path) -> Write:
    """Write a migration file: its name, its SQL, its options."""

    def write_file(name: str, sql: str, *, options: str = "") -> None:
        (directory / f"{name}.sql").write_text(
            f"-- migrate:up {options}\n{sql}\n-- migrate:down\nSELECT 1/0;\n"
        )

    return write_file


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[Connection]:
    opened = await asyncpg.connect(empty_database_url)
    yield opened
    await opened.close()


async def test_migrations_are_applied_once(empty_database_url: str, directory: Path, write: Write) -> None:
    """The first run applies all in order and the second finds nothing to do."""
    write("0001_table", "CREATE TABLE numbers (number integer);")
    write("0002_row", "INSERT INTO numbers VALUES (1);")
    first = await migrate(empty_database_url, directory=directory)
    second = await migrate(empty_database_url, directory=directory)

    assert first == MigrationReport(applied=("0001", "0002"), already=(), unknown=())
    assert second == MigrationReport(applied=(), already=("0001", "0002"), unknown=())


async def test_four_at_once_apply_each_migration_once(
    empty_database_url: str, directory: Path, write: Write, connection: Connection
) -> None:
    """Of four runs at once one applies all and the others find nothing to do."""
    write("0001_table", "CREATE TABLE numbers (number integer); SELECT pg_sleep(0.3);")
    write("0002_row", "INSERT INTO numbers VALUES (1);")
    reports = await asyncio.gather(*(migrate(empty_database_url, directory=directory) for _ in range(4)))

    assert sorted(report.applied for report in reports) == [(), (), (), ("0001", "0002")]
    assert await connection.fetchval("SELECT count(*) FROM numbers") == 1


async def test_an_edited_file_is_refused(empty_database_url: str, directory: Path, write: Write) -> None:
    """A file that says something else than when it was applied stops the run, by its name."""
    write("0001_table", "CREATE TABLE numbers (number integer);")
    await migrate(empty_database_url, directory=directory)
    write("0001_table", "CREATE TABLE numbers (number bigint);")
    with pytest.raises(MigrationError, match=r"0001_table\.sql was edited"):
        await migrate(empty_database_url, directory=directory)


async def test_a_failing_file_is_undone_and_can_be_resumed(
    empty_database_url: str, directory: Path, write: Write, connection: Connection
) -> None:
    """A file that fails half way leaves nothing of itself; corrected, the next run goes on from there."""
    write("0001_table", "CREATE TABLE numbers (number integer);")
    write("0002_rows", "INSERT INTO numbers VALUES (1); INSERT INTO numbers VALUES ('two');")
    with pytest.raises(MigrationError, match=r"0002_rows\.sql failed: invalid input syntax"):
        await migrate(empty_database_url, directory=directory)
    rows_after_failure = await connection.fetchval("SELECT count(*) FROM numbers")
    write("0002_rows", "INSERT INTO numbers VALUES (1); INSERT INTO numbers VALUES (2);")
    report = await migrate(empty_database_url, directory=directory)

    assert rows_after_failure == 0
    assert report == MigrationReport(applied=("0002",), already=("0001",), unknown=())


async def test_an_index_is_built_concurrently_while_others_wait(
    empty_database_url: str, directory: Path, write: Write, connection: Connection
) -> None:
    """Runs that wait do not hold up CREATE INDEX CONCURRENTLY, which waits for all older snapshots."""
    write("0001_table", "CREATE TABLE numbers (number integer); SELECT pg_sleep(0.5);")
    write(
        "0002_index",
        "DROP INDEX CONCURRENTLY IF EXISTS by_number;\n"
        "CREATE INDEX CONCURRENTLY by_number ON numbers (number);",
        options="transaction:false",
    )
    runs = [asyncio.create_task(migrate(empty_database_url, directory=directory)) for _ in range(4)]
    await eventually(lambda: connection.fetchval(COUNT_BUSY_WITH, "pg_try_advisory_lock"))
    reports = await asyncio.gather(*runs)

    assert sorted(report.applied for report in reports) == [(), (), (), ("0001", "0002")]
    assert await connection.fetchval(HAS_VALID_INDEX) is True


async def test_a_killed_run_leaves_nothing_half_done(
    empty_database_url: str, directory: Path, write: Write, connection: Connection
) -> None:
    """Kill -9 in the middle of a file undoes the file and frees the lock; the next run applies it."""
    write("0001_table", "CREATE TABLE numbers (number integer); SELECT pg_sleep(30);")
    with start_migration(empty_database_url, directory) as process:
        await eventually(lambda: connection.fetchval(COUNT_BUSY_WITH, "pg_sleep(30)"), within=20)
        process.send_signal(signal.SIGKILL)
    write("0001_table", "CREATE TABLE numbers (number integer);")
    report = await migrate(empty_database_url, directory=directory, max_wait=timedelta(seconds=15))

    assert report == MigrationReport(applied=("0001",), already=(), unknown=())


async def test_a_version_of_newer_code_is_reported(
    empty_database_url: str, directory: Path, write: Write
) -> None:
    """Older code runs on a newer schema: what it does not know it reports and leaves alone."""
    write("0001_table", "CREATE TABLE numbers (number integer);")
    write("0002_newer", "ALTER TABLE numbers ADD COLUMN name text;")
    await migrate(empty_database_url, directory=directory)
    (directory / "0002_newer.sql").unlink()
    report = await migrate(empty_database_url, directory=directory)
    statuses = await status(empty_database_url, directory=directory)

    assert report == MigrationReport(applied=(), already=("0001",), unknown=("0002",))
    assert [(one.version, one.name, one.state) for one in statuses] == [
        ("0001", "table", MigrationState.APPLIED),
        ("0002", "newer", MigrationState.UNKNOWN),
    ]


async def test_pending_versions_stop_a_start(
    empty_database_url: str, directory: Path, write: Write, connection: Connection
) -> None:
    """A process learns which versions the database lacks, also before the first migration."""
    write("0001_table", "CREATE TABLE numbers (number integer);")
    before = await pending(connection, directory=directory)
    await migrate(empty_database_url, directory=directory)
    write("0002_row", "INSERT INTO numbers VALUES (1);")

    assert (before, await pending(connection, directory=directory)) == (("0001",), ("0002",))


async def test_status_changes_nothing(
    empty_database_url: str, directory: Path, write: Write, connection: Connection
) -> None:
    """Asking for the status of a fresh database does not even make the table."""
    write("0001_table", "CREATE TABLE numbers (number integer);")
    statuses = await status(empty_database_url, directory=directory)

    assert [one.state for one in statuses] == [MigrationState.PENDING]
    assert await connection.fetchval("SELECT to_regclass('schema_migrations')") is None


async def test_a_locked_table_is_given_up_soon(
    empty_database_url: str, directory: Path, write: Write, connection: Connection
) -> None:
    """A migration does not queue behind a long transaction, where all traffic would queue behind it."""
    write("0001_table", "CREATE TABLE numbers (number integer);")
    await migrate(empty_database_url, directory=directory)
    write("0002_column", "ALTER TABLE numbers ADD COLUMN name text;", options="lock_timeout:100ms")
    async with connection.transaction():
        await connection.execute("LOCK TABLE numbers")
        with pytest.raises(
            MigrationError, match=r"0002_column\.sql failed: canceling statement due to lock timeout"
        ):
            await migrate(empty_database_url, directory=directory)


async def test_a_run_that_waits_too_long_gives_up(
    empty_database_url: str, directory: Path, write: Write, connection: Connection
) -> None:
    """Behind a run that does not end, the wait ends with a sentence."""
    write("0001_table", "CREATE TABLE numbers (number integer);")
    await connection.execute(LOCK)
    with pytest.raises(MigrationError, match="still running"):
        await migrate(empty_database_url, directory=directory, max_wait=timedelta(seconds=0.2))


async def test_time_limits_of_a_file_do_not_outlive_it(
    empty_database_url: str, directory: Path, write: Write, connection: Connection
) -> None:
    """Each file runs under its own limits: the defaults after a file with others."""
    note = (
        "INSERT INTO limits VALUES (current_setting('lock_timeout'), current_setting('statement_timeout'));"
    )
    write("0001_table", "CREATE TABLE limits (lock_timeout text, statement_timeout text);")
    write("0002_patient", note, options="transaction:false lock_timeout:7s statement_timeout:0")
    write("0003_usual", note)
    await migrate(empty_database_url, directory=directory)
    limits = [tuple(row) for row in await connection.fetch("SELECT * FROM limits")]

    assert limits == [("7s", "0"), ("4s", "1min")]


async def test_a_database_that_is_away_is_named(directory: Path, write: Write) -> None:
    """Without a server the error says so, and what to check."""
    write("0001_table", "CREATE TABLE numbers (number integer);")
    with pytest.raises(DatabaseUnavailable, match="check the database URL"):
        await migrate(f"postgresql://postgres@/postgres?host={directory}", directory=directory)


async def test_the_services_own_schema_is_current(database_url: str) -> None:
    """The test database has every migration that ships with the service."""
    report = await migrate(database_url)

    assert report.applied == ()
    assert report.already


def start_migration(url: str, directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", MIGRATE, url, str(directory)])
