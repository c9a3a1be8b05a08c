"""Servers and databases for tests: all real, each test with its own part of them."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import redis.asyncio

#: Trades safety on a power cut for speed: for the server of a whole test run only.
THROWAWAY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "max_wal_size": "64MB",
}
#: Where Linux keeps files in memory.
_MEMORY = Path("/dev/shm")  # noqa: S108 - directories in it get names that nobody can guess
#: What has to be free there: the servers of a run of four processes and those of single tests take less.
_ENOUGH_BYTES = 2 << 30
#: Logical databases of the Valkey server of a test run.
VALKEY_DATABASES = 64
#: The same where the address of a server is given: Redis' own default.
GIVEN_REDIS_DATABASES = 16


class Databases:
    """Makes and drops databases on one PostgreSQL server."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._names = (f"release_test_{os.getpid()}_{number}" for number in itertools.count(1))

    def url(self, name: str) -> str:
        """Return the address of a database of this server."""
        return urlsplit(self._server_url)._replace(path=f"/{name}").geturl()

    async def create(self, *, template: str = "template0") -> str:
        """Create a database and return its name."""
        name = next(self._names)
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    async def drop(self, name: str) -> None:
        """Drop a database, whoever still uses it."""
        await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @asynccontextmanager
    async def fresh(self, *, template: str = "template0") -> AsyncIterator[str]:
        """Lend the address of a new database."""
        name = await self.create(template=template)
        try:
            yield self.url(name)
        finally:
            await self.drop(name)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class RedisDatabases:
    """Hands out the logical databases of one Redis server in turn, each emptied before its use."""

    def __init__(self, server_url: str, *, numbers: Sequence[int]) -> None:
        self._server_url = server_url
        self._numbers = itertools.cycle(numbers)

    async def fresh(self) -> str:
        """Return the address of an empty logical database."""
        url = self._url(next(self._numbers))
        client = redis.asyncio.Redis.from_url(url)
        try:
            await client.flushdb()
        finally:
            await client.aclose()
        return url

    def _url(self, number: int) -> str:
        return f"{self._server_url.partition('?')[0]}?db={number}"


@contextmanager
def server_directory() -> Iterator[Path]:
    """Lend a directory with a short path that is gone afterwards: clusters are big.

    It is in memory where there is room: a database is hundreds of files, and a file system on a disk may take
    thirty times as long to make them.
    """
    place = _MEMORY if _has_room(_MEMORY) else None
    with tempfile.TemporaryDirectory(prefix="release-", dir=place, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def _has_room(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK) and shutil.disk_usage(directory).free >= _ENOUGH_BYTES


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Freeze a process and its children: they keep their connections and answer nothing."""
    os.kill(pid, signal.SIGSTOP)
    pids = [pid, *children_of(pid)]
    _send_all(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _send_all(reversed(pids), signal.SIGCONT)


def children_of(pid: int) -> list[int]:
    """Return the ids of the processes that the process has started and that still live."""
    table = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], check=True, capture_output=True, text=True
    ).stdout
    rows = [tuple(map(int, line.split())) for line in table.splitlines()]
    return [child for child, parent in rows if parent == pid]


def is_alive(pid: int) -> bool:
    """Tell whether the process runs; a zombie does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True)
    return state.stdout.strip()[:1] not in {"", "Z"}


def _send_all(pids: Iterator[int] | list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
