"""The audit trail: entries come back as they were written, in visible workspaces only, and nobody changes one."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from service.core.audit_trail import AuditEntry
from service.gateways.store.audit_log import TrailFilter, list_entries, record
from service.gateways.store.database import Connection, Database, PoolSize

ENTRY = AuditEntry(
    actor="anna (key 1)",
    action="workspace.paused",
    target="p/w",
    project_id="p",
    workspace="w",
    reason="the vendor is in maintenance",
    before={"paused": False},
    after={"paused": True},
    http_request_id="r-1",
)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection of the service's own kind."""
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    try:
        async with database.connection() as connection:
            yield connection
    finally:
        await database.close()


async def listed(
    connection: Connection, *visible: str, wanted: TrailFilter | None = None
) -> list[AuditEntry]:
    entries = await list_entries(connection, wanted or TrailFilter(), visible=visible, before=None, limit=10)
    return [kept.entry for kept in entries]


async def test_entries_come_back_newest_first(connection: Connection) -> None:
    """What was recorded is listed as it was, page by page."""
    other = replace(ENTRY, action="workspace.resumed", reason=None)
    await record(connection, ENTRY)
    await record(connection, other)

    (newest,) = await list_entries(connection, TrailFilter(), visible=("%",), before=None, limit=1)
    (oldest,) = await list_entries(connection, TrailFilter(), visible=("%",), before=newest.entry_id, limit=9)

    assert (newest.entry, oldest.entry) == (other, ENTRY)


async def test_entries_are_found_by_action_and_target(connection: Connection) -> None:
    """Each filter narrows the list."""
    await record(connection, ENTRY)

    assert await listed(connection, "%", wanted=TrailFilter(action="workspace.paused", target="p/w")) == [
        ENTRY
    ]
    assert await listed(connection, "%", wanted=TrailFilter(action="workspace.resumed")) == []
    assert await listed(connection, "%", wanted=TrailFilter(target="p/x")) == []


async def test_only_visible_workspaces_are_listed(connection: Connection) -> None:
    """What belongs to no workspace is for those who see all."""
    without_place = replace(ENTRY, action="key.created", project_id=None, workspace=None)
    await record(connection, ENTRY)
    await record(connection, without_place)

    assert await listed(connection, "p/%") == [ENTRY]
    assert await listed(connection, "q/%") == []
    assert await listed(connection, "%") == [without_place, ENTRY]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_log SET reason = 'another'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "SET session_replication_role = replica; DELETE FROM audit_log",
    ],
)
async def test_nobody_changes_an_entry(connection: Connection, change: str) -> None:
    """The database refuses, even where the role owns the table and calls itself a replica."""
    await record(connection, ENTRY)

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await connection.execute(change)

    await connection.execute("RESET session_replication_role")
    assert await listed(connection, "%") == [ENTRY]
