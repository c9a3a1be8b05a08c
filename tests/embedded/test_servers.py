"""What both embedded servers promise."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import redis.exceptions

from service.core.errors import EmbeddedServerError
from service.embedded.postgres import EmbeddedPostgres
from service.embedded.server import EmbeddedServer
from service.embedded.valkey import EmbeddedValkey
from tests.embedded.contents import count, write
from tests.support.servers import children_of, frozen, is_alive

SILENCE = (OSError, TimeoutError, redis.exceptions.RedisError)
KINDS = pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedValkey])


@pytest.fixture(params=[EmbeddedPostgres, EmbeddedValkey])
async def server(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[EmbeddedServer]:
    kind: type[EmbeddedServer] = request.param
    async with kind(directory / "data") as running:
        yield running


async def test_keeps_its_data_over_stop_and_start(server: EmbeddedServer) -> None:
    """A stopped server starts again at the same address with everything that was written."""
    url = server.url
    await write(server, count=100)
    await server.stop()
    await server.start()

    assert (url, 100) == (server.url, await count(server))


async def test_keeps_its_data_over_kill(server: EmbeddedServer) -> None:
    """Kill -9 costs a server nothing of what is committed or on disk."""
    await write(server, count=300)
    server.kill()
    await server.start()

    assert await count(server) == 300


async def test_stop_ends_the_process(server: EmbeddedServer) -> None:
    """After stop the process is gone, and there is no pid to speak of."""
    pid = server.pid
    await server.stop()

    assert not is_alive(pid)
    with pytest.raises(EmbeddedServerError, match="not running"):
        _ = server.pid


async def test_start_and_stop_may_be_repeated(server: EmbeddedServer) -> None:
    """A second start leaves the running server alone; a second stop or kill does nothing."""
    pid = server.pid
    await server.start()

    assert pid == server.pid
    await server.stop()
    await server.stop()
    server.kill()


async def test_a_second_server_on_the_same_directory_is_refused(
    server: EmbeddedServer, directory: Path
) -> None:
    """The second start is refused with a sentence, and the first server goes on serving."""
    await write(server, count=1)
    with pytest.raises(EmbeddedServerError, match="in use by a running server"):
        await type(server)(directory / "data").start()

    assert await count(server) == 1


async def test_nothing_listens_on_tcp(server: EmbeddedServer) -> None:
    """No process of a server has a TCP socket, so nobody else can reach it."""
    pids = [server.pid, *children_of(server.pid)]
    sockets = set().union(*(sockets_of(pid) for pid in pids))

    assert sockets
    assert set() == sockets & tcp_sockets()


async def test_its_directories_are_private(server: EmbeddedServer, directory: Path) -> None:
    """Only the owner can enter the directories of the data and of the socket."""
    folders = {directory / "data", socket_directory_of(server), *folders_in(directory / "data")}
    modes = {mode_of(folder) for folder in folders}

    assert len(folders) > 1
    assert modes == {0o700}


@KINDS
async def test_an_open_directory_is_made_private(kind: type[EmbeddedServer], directory: Path) -> None:
    """A directory that everybody could read is closed before the server starts in it."""
    open_to_all(directory)
    async with kind(directory):
        mode = mode_of(directory)

    assert mode == 0o700


@KINDS
@pytest.mark.parametrize("name", ["long" * 40, "a b, c:d%20é"], ids=["long", "odd"])
async def test_any_path_will_do(kind: type[EmbeddedServer], directory: Path, name: str) -> None:
    """A path too long for a socket or odd for a URL works, with a private socket that goes at stop."""
    async with kind(directory / name) as server:
        await write(server, count=5)
        counted = await count(server)
        sockets = socket_directory_of(server)
        mode = mode_of(sockets)

    assert (counted, mode) == (5, 0o700)
    assert not sockets.exists()


async def test_our_secrets_stay_ours(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is started without our environment, which holds the vendor's keys."""
    await server.stop()
    monkeypatch.setenv("HUAWEICLOUD_SDK_SK", "made-up-key")
    await server.start()
    environment = environment_of(server.pid)

    assert environment
    assert b"made-up-key" not in environment


async def test_a_frozen_server_answers_after_the_thaw(server: EmbeddedServer) -> None:
    """The harness can freeze a server: it is silent until it goes on, with its data."""
    await write(server, count=7)
    with frozen(server.pid), pytest.raises(SILENCE):
        await count(server)

    assert await count(server) == 7


def socket_directory_of(server: EmbeddedServer) -> Path:
    """Read the directory of the socket from the address."""
    parts = urlsplit(server.url)
    hosts = parse_qs(parts.query).get("host")
    return Path(hosts[0]) if hosts else Path(parts.path).parent


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_all(directory: Path) -> None:
    directory.chmod(0o755)


def folders_in(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_dir()]


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def sockets_of(pid: int) -> set[str]:
    """Return the inodes of a process's sockets, which only Linux tells."""
    names = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return {name.removeprefix("socket:[").removesuffix("]") for name in names if name.startswith("socket:[")}


def tcp_sockets() -> set[str]:
    """Return the inodes of all TCP sockets."""
    tables = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    return {line.split()[9] for table in tables for line in table}
