"""Real servers for every test: PostgreSQL and Valkey, started once, or given by their addresses.

``RELEASE_TEST_DATABASE_URL`` (a user who may create databases) and ``RELEASE_TEST_REDIS_URL`` (all its
logical databases are emptied) name servers to use instead.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from service.embedded.postgres import EmbeddedPostgres
from service.embedded.server import EmbeddedServer
from service.embedded.valkey import EmbeddedValkey
from service.gateways.migrate import migrate
from tests.support.processes import ServiceProcess
from tests.support.proxy import PostgresProxy
from tests.support.servers import (
    GIVEN_REDIS_DATABASES,
    THROWAWAY_SETTINGS,
    VALKEY_DATABASES,
    Databases,
    RedisDatabases,
    server_directory,
)

T = TypeVar("T")


class StartService(Protocol):
    """Starts ``python -m service`` with these arguments; it is killed at the end of the test."""

    def __call__(self, *arguments: str, environment: Mapping[str, str] = ...) -> ServiceProcess:
        """Start it; the environment is all that it gets of ``RELEASE_*``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests, some in each process of a parallel run, lest one of them is left for the end.

    pytest-xdist deals the tests out in runs of equal length and takes what others have no time for from their ends.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    others = iter([item for item in items if not item.get_closest_marker("long")])
    ordered: list[pytest.Item] = []
    for process in range(count):
        length = (len(items) - len(ordered)) // (count - process)
        begun_first = long[process::count]
        ordered += [*begun_first, *islice(others, max(0, length - len(begun_first)))]
    items[:] = ordered


@pytest.fixture(scope="session")
def session_runner() -> Iterator[asyncio.Runner]:
    """Run the coroutines of fixtures of the whole session: each test has a loop of its own."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def databases(session_runner: asyncio.Runner) -> Iterator[Databases]:
    """The PostgreSQL server of this test run."""
    given = os.environ.get("RELEASE_TEST_DATABASE_URL")
    if given:
        yield Databases(given)
        return
    with server_directory() as directory:
        server = EmbeddedPostgres(directory, settings=THROWAWAY_SETTINGS)
        yield from _lend(server, session_runner, lambda: Databases(server.url))


@pytest.fixture(scope="session")
def migrated_template(databases: Databases, session_runner: asyncio.Runner) -> Iterator[str]:
    """The name of a database with the service's schema, to copy from."""
    name = session_runner.run(databases.create())
    session_runner.run(migrate(databases.url(name)))
    yield name
    session_runner.run(databases.drop(name))


@pytest.fixture(scope="session")
def shared_database_url(
    databases: Databases, migrated_template: str, session_runner: asyncio.Runner
) -> Iterator[str]:
    """The address of a database with the service's schema, for tests that commit nothing."""
    name = session_runner.run(databases.create(template=migrated_template))
    yield databases.url(name)
    session_runner.run(databases.drop(name))


@pytest.fixture(scope="session")
def redis_databases(session_runner: asyncio.Runner) -> Iterator[RedisDatabases]:
    """The Redis or Valkey server of this test run."""
    given = os.environ.get("RELEASE_TEST_REDIS_URL")
    if given:
        yield RedisDatabases(given, numbers=_own_share(GIVEN_REDIS_DATABASES))
        return
    with server_directory() as directory:
        server = EmbeddedValkey(directory, settings={"databases": str(VALKEY_DATABASES), "appendonly": "no"})
        yield from _lend(
            server, session_runner, lambda: RedisDatabases(server.url, numbers=range(VALKEY_DATABASES))
        )


@pytest.fixture
async def database_url(databases: Databases, migrated_template: str) -> AsyncIterator[str]:
    """The address of a database of the test's own, with the service's schema and no rows."""
    async with databases.fresh(template=migrated_template) as url:
        yield url


@pytest.fixture
async def empty_database_url(databases: Databases) -> AsyncIterator[str]:
    """The address of a database of the test's own, with nothing in it."""
    async with databases.fresh() as url:
        yield url


@pytest.fixture
async def redis_url(redis_databases: RedisDatabases) -> str:
    """The address of an empty logical database of the test's own."""
    return await redis_databases.fresh()


@pytest.fixture
async def own_postgres() -> AsyncIterator[EmbeddedPostgres]:
    """A running PostgreSQL server of the test's own, safe on disk, to stop, kill or freeze."""
    with server_directory() as directory:
        async with EmbeddedPostgres(directory) as server:
            yield server


@pytest.fixture
async def own_valkey() -> AsyncIterator[EmbeddedValkey]:
    """A running Valkey server of the test's own, to stop, kill or freeze."""
    with server_directory() as directory:
        async with EmbeddedValkey(directory) as server:
            yield server


@pytest.fixture
async def own_database_url(own_postgres: EmbeddedPostgres) -> str:
    """The address of a migrated database on a server of the test's own."""
    await migrate(own_postgres.url)
    return own_postgres.url


@pytest.fixture
def socket_directory() -> Iterator[Path]:
    """A directory with a path that is short enough for a unix socket."""
    with server_directory() as directory:
        yield directory


@pytest.fixture
async def proxy(database_url: str, socket_directory: Path) -> AsyncIterator[PostgresProxy]:
    """A proxy in front of the Postgres of the test run."""
    async with PostgresProxy(database_url, socket_directory).running() as proxy:
        yield proxy


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Start the service's commands as processes; they are killed at the end of the test."""
    with ExitStack() as stack:

        def start(*arguments: str, environment: Mapping[str, str] = {}) -> ServiceProcess:
            process = ServiceProcess(*arguments, environment=environment, directory=tmp_path)
            return stack.enter_context(process)

        yield start


def _own_share(count: int) -> range:
    """Split what is numbered between the processes of a parallel run: pytest-xdist names them gw0 and so on."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return range(process, count, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _lend(server: EmbeddedServer, runner: asyncio.Runner, part: Callable[[], T]) -> Iterator[T]:
    runner.run(server.start())
    try:
        yield part()
    finally:
        runner.run(server.stop())
