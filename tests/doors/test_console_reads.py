"""How many rows the pages of the console read where there are many requests: few, by index, whatever is asked for."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.commands.keys import create_key
from service.doors.console.routes import PAGES
from tests.doors.test_console import log_in, read, session_of
from tests.support.api import Replica, running_replica
from tests.support.console_paths import CALLERS, paths_of
from tests.support.grown import BUSY, grow
from tests.support.kept import keep
from tests.support.plans import ExplainingDatabase
from tests.support.servers import Databases

REQUESTS = 20_000
#: What a page may read of one table in one statement: all 4,320 requests that are under way, and some more.
MOST_READ = 6_500
#: Requests of a project are looked for among all; there are few projects, and each has many.
READ_ALL = ("/requests?project_id=none",)
#: A stream, and the page of an audit, which reads all there is.
NO_PAGE = ("/console/changes", "/audit/report")


@pytest.fixture
async def busy(
    monkeypatch: pytest.MonkeyPatch, databases: Databases, migrated_template: str, redis_url: str
) -> AsyncIterator[Replica]:
    """A replica on a database of a busy day, which explains every statement that it runs."""
    monkeypatch.setattr("service.deps.Database", ExplainingDatabase)
    async with databases.fresh(template=migrated_template) as url:
        await grow(url, requests=REQUESTS, under_way=BUSY)
        await keep(url, entries=REQUESTS)
        settings = {"RELEASE_DATABASE_URL": url, "RELEASE_REDIS_URL": redis_url, "RELEASE_AUTH": "keys"}
        async with running_replica(settings) as replica:
            yield replica


async def test_every_page_reads_a_few_rows_of_the_tables_that_grow(busy: Replica) -> None:
    """No page reads a table, or a large part of one, whoever looks and whatever the filter."""
    url, database = busy.deps.settings.require_database(), busy.deps.database
    assert isinstance(database, ExplainingDatabase)
    connection = await asyncpg.connect(url)
    paths = await paths_of(connection)
    await connection.close()
    wrong = []
    for caller, workspaces in CALLERS.items():
        key = await create_key(url, name=caller, scopes=["admin"], workspaces=workspaces)
        cookie = session_of(await log_in(busy, key.api_key))
        for path in paths[caller]:
            database.seen.clear()
            answer = await read(busy, path, cookie)
            assert answer.status == 200, (path, answer.body)
            wrong += [
                f"{caller} {path}: {scan}\n{statement}"
                for statement, scans in database.seen
                for scan in scans
                if scan.rows_read > MOST_READ and path not in READ_ALL
            ]

    assert wrong == []


async def test_no_page_is_forgotten(database_url: str) -> None:
    """Every page that is shown is among those that are tried."""
    await grow(database_url, requests=2_000, under_way=BUSY[-40:])
    await keep(database_url, entries=2_000)
    connection = await asyncpg.connect(database_url)
    tried = [path.partition("?")[0] for path in (await paths_of(connection))["admin"]]
    await connection.close()
    shown = [page.path for page in PAGES if page.method == "GET" and page.path not in NO_PAGE]

    assert [
        path for path in shown if not any(re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), one) for one in tried)
    ] == []
