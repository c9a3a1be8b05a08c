"""What commands say where something that they need is missing: one sentence, at once, and no traceback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.conftest import StartService

COMMANDS = {
    "audit": ("audit",),
    "self-test": ("audit", "--self-test"),
    "vendor": ("audit", "--vendor"),
    "list": ("keys", "list"),
    "create": ("keys", "create", "--name", "n", "--scope", "read", "--workspace", "p/w"),
    "revoke": ("keys", "revoke", "00000000-0000-7000-8000-000000000000"),
}
#: Nothing answers there; the commands do not come so far.
ELSEWHERE = {
    "RELEASE_REDIS_URL": "redis://127.0.0.1:9/0",
    "RELEASE_VENDOR_URL": "http://127.0.0.1:9",
    "RELEASE_VENDOR_AUTH": "none",
}


async def said_by(start_service: StartService, *command: str, database_url: str) -> str:
    """Run a command that has to fail; returns what it says."""
    process = start_service(*command, environment={**ELSEWHERE, "RELEASE_DATABASE_URL": database_url})

    assert await process.wait(within=20.0) == 1
    return process.stderr


@pytest.mark.parametrize("command", COMMANDS)
async def test_without_a_schema_a_command_says_what_to_do(
    empty_database_url: str, start_service: StartService, command: str
) -> None:
    """On an empty database, each command names `migrate`."""
    said = await said_by(start_service, *COMMANDS[command], database_url=empty_database_url)

    assert said.startswith("batch-release: 0001, ")
    assert said.endswith("not applied: run `batch-release migrate`\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
async def test_with_a_pending_migration_a_command_says_what_to_do(
    database_url: str, start_service: StartService, command: str
) -> None:
    """On a schema of an earlier version, each command names `migrate` and what is missing."""
    connection = await asyncpg.connect(database_url)
    last = await connection.fetchval(
        "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)"
        " RETURNING version"
    )
    await connection.close()

    assert await said_by(start_service, *COMMANDS[command], database_url=database_url) == (
        f"batch-release: {last} not applied: run `batch-release migrate`\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
async def test_without_postgres_a_command_ends_at_once(
    tmp_path: Path, start_service: StartService, command: str
) -> None:
    """A process waits for PostgreSQL; whoever has called a command is told."""
    missing = f"postgresql://postgres@/postgres?host={tmp_path}"
    said = await said_by(start_service, *COMMANDS[command], database_url=missing)

    assert said.startswith("batch-release: PostgreSQL does not answer: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", ["worker", "api"])
async def test_without_any_setting_the_servers_come_first(start_service: StartService, command: str) -> None:
    """A process that knows nothing names the addresses of both servers, before anything of the vendor."""
    process = start_service(command)

    assert await process.wait(within=20.0) == 2
    assert process.stderr == (
        "batch-release: RELEASE_DATABASE_URL is not set: expected postgresql://user@host/database;"
        " RELEASE_REDIS_URL is not set: expected redis://host:6379/0\n"
    )


@pytest.mark.parametrize("command", [("migrate",), ("migrate", "--status")], ids=" ".join)
@pytest.mark.parametrize("missing", ["role", "database"])
async def test_where_postgres_refuses_nobody_waits(
    empty_database_url: str, start_service: StartService, command: tuple[str, ...], missing: str
) -> None:
    """A role or a database that is not there is told at once: waiting does not make it."""
    url = urlsplit(empty_database_url)
    place = f"nobody@{url.netloc.rpartition('@')[2]}"
    refused = url._replace(netloc=place) if missing == "role" else url._replace(path="/nothing")
    said = await said_by(start_service, *command, database_url=refused.geturl())

    assert said.startswith("batch-release: PostgreSQL refuses (")
    assert said.endswith("): check the database URL.\n")
    assert said.count("\n") == 1


@asynccontextmanager
async def guest_of(database_url: str) -> AsyncIterator[str]:
    """Lend the address of a database for a role that may do nothing there."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE ROLE release_test_guest LOGIN PASSWORD 'guest'")
    url = urlsplit(database_url)
    try:
        yield url._replace(netloc=f"release_test_guest:guest@{url.netloc.rpartition('@')[2]}").geturl()
    finally:
        await connection.execute("DROP ROLE release_test_guest")
        await connection.close()


async def test_a_role_that_may_make_no_tables_is_told(
    empty_database_url: str, start_service: StartService
) -> None:
    """The schema is not made, and one sentence says why."""
    async with guest_of(empty_database_url) as guest:
        said = await said_by(start_service, "migrate", database_url=guest)

    assert said == (
        "batch-release: PostgreSQL refuses (permission denied for schema public): check the rights of the role.\n"
    )


@pytest.mark.parametrize("command", ["audit", "list"])
async def test_a_role_that_may_not_read_is_told(
    database_url: str, start_service: StartService, command: str
) -> None:
    """It can connect and see nothing; one sentence says so."""
    async with guest_of(database_url) as guest:
        said = await said_by(start_service, *COMMANDS[command], database_url=guest)

    assert said.endswith(
        "\nbatch-release: PostgreSQL does not answer: permission denied for table schema_migrations\n"
    )
    assert "Traceback" not in said
