"""How the servers live and die with the process that started them, whoever runs it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from service.embedded.wheels import find_postgres_programs
from tests.embedded.contents import count, write
from tests.support.nursery import REPOSITORY
from tests.support.servers import is_alive
from tests.support.waiting import eventually

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """A running supervisor and what it said of itself."""

    process: subprocess.Popen[str]
    uid: int
    postgres: int
    valkey: int


@contextmanager
def supervisor(directory: Path, *, prefix: tuple[str, ...] = ()) -> Iterator[Supervisor]:
    words = [*prefix, sys.executable, "-m", "tests.embedded.supervisor", str(directory)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            yield Supervisor(process=process, **json.loads(process.stdout.readline()))
        finally:
            process.kill()


async def test_servers_die_with_a_killed_supervisor(directory: Path) -> None:
    """Kill -9 of the process that started them stops both servers."""
    with supervisor(directory) as running:
        running.process.kill()
        servers = (running.postgres, running.valkey)
        await eventually(lambda: not any(map(is_alive, servers)), within=10)


async def test_a_new_supervisor_takes_over_from_a_killed_one(directory: Path) -> None:
    """A start right after kill -9 of the former supervisor waits for its servers and keeps their data."""
    postgres, valkey = EmbeddedPostgres(directory / "postgres"), EmbeddedValkey(directory / "valkey")
    with supervisor(directory) as running:
        await write(postgres, count=50)
        await write(valkey, count=50)
        running.process.kill()
        running.process.wait()
        async with postgres, valkey:
            counted = (await count(postgres), await count(valkey))

    assert counted == (50, 50)


async def test_servers_stop_with_their_supervisor(directory: Path) -> None:
    """A supervisor that ends in order leaves no server behind."""
    with supervisor(directory) as running:
        running.process.communicate("", timeout=20)

        assert running.process.returncode == 0
        assert not is_alive(running.postgres)
        assert not is_alive(running.valkey)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_an_ordinary_user_can_run_them(directory: Path) -> None:
    """Both servers start and stop for a user without rights, passwd entry of its own or home."""
    require_readable(sys.executable, "-c", "import asyncpg, service.embedded.postgres")
    os.chown(directory, NOBODY, NOBODY)
    with supervisor(directory, prefix=AS_NOBODY) as running:
        owner = owner_of(running.postgres)
        running.process.communicate("", timeout=20)

    assert (running.uid, owner, running.process.returncode) == (NOBODY, NOBODY, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_root_without_namespaces_runs_postgres_as_nobody(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where root has no unshare, PostgreSQL runs as nobody; later, with unshare, it gets the data back."""
    require_readable(str(find_postgres_programs() / "postgres"), "--version")
    server = EmbeddedPostgres(directory)
    with monkeypatch.context() as poor:
        poor.setenv("PATH", "")
        async with server:
            owner = owner_of(server.pid)
            await write(server, count=4)
    async with server:
        counted = await count(server)

    assert (owner, counted) == (NOBODY, 4)


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def require_readable(*words: str) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    tried = subprocess.run([*AS_NOBODY, *words], check=False, capture_output=True, cwd=REPOSITORY)
    if tried.returncode != 0:
        pytest.skip(f"another user cannot read {words[0]} or the checkout")
