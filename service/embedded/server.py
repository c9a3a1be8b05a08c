"""The life that both embedded servers share: lock, clear, launch, wait for an answer; stop or kill; again."""

import asyncio
import signal
import time
from abc import ABC, abstractmethod
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self, assert_never

from service.core.errors import EmbeddedServerError
from service.embedded.account import Account
from service.embedded.directories import (
    make_private,
    make_socket_directory,
    remove_socket_directory,
    socket_directory,
)
from service.embedded.leftovers import clear_leftovers
from service.embedded.process import Command, DirectoryLock, ServerProcess

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_FORMER_SERVER_SECONDS = 10.0
_POLL_SECONDS = 0.01


class _Launch(Enum):
    ANSWERS = auto()
    ENDED = auto()
    SILENT = auto()


class EmbeddedServer(ABC):
    """A server of ours on a data directory of ours; an async context manager that starts and stops it.

    It may be started again after ``stop`` or ``kill``, with the same ``url``. Start it from the main thread:
    the kernel stops it when the starting thread dies.
    """

    #: The product's name in messages.
    _name: ClassVar[str]
    #: The executable's name.
    _program: ClassVar[str]
    _stop_signal: ClassVar[signal.Signals]
    _socket_name: ClassVar[str]

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._socket_dir = socket_directory(self._data_dir, socket_name=self._socket_name)
        self._lock = DirectoryLock(self._data_dir)
        self._process: ServerProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The address for clients; the same over restarts."""

    @property
    def pid(self) -> int:
        """The process id of the running server.

        Raises:
            EmbeddedServerError: It does not run.
        """
        if self._process is None:
            raise EmbeddedServerError(f"The bundled {self._name} is not running: start it first.")
        return self._process.pid

    async def start(self) -> None:
        """Start the server and wait until it answers; harmless while it runs.

        Raises:
            EmbeddedServerError: The wheel is missing, the directory is in use or not ours, or the server
                ended or did not answer within 60 s; the message has the end of its log.
        """
        if self._process is not None and not self._process.has_exited:
            return
        try:
            await self._start()
        except BaseException:
            self.kill()
            self._lock.drop()
            raise

    async def stop(self) -> None:
        """Stop the server, keep its data; harmless when it does not run. After 30 s it is killed."""
        if self._process is not None:
            self._process.send(self._stop_signal)
            await self._process.ends_within(_STOP_SECONDS)
            self.kill()
        remove_socket_directory(self._socket_dir, data_dir=self._data_dir)
        self._lock.drop()

    def kill(self) -> None:
        """End the server at once, as a crash would; harmless when it does not run. The lock stays ours."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @abstractmethod
    def _account(self) -> Account:
        """Return whom the server runs as."""

    @abstractmethod
    def _words(self) -> list[str]:
        """Return the server's command line."""

    @property
    @abstractmethod
    def _data(self) -> Path:
        """The server's own directory, a word of its command line."""

    @property
    @abstractmethod
    def _pid_file(self) -> Path:
        """Where the server writes its process id."""

    @abstractmethod
    async def _answers(self, pid: int) -> bool:
        """Tell whether the server takes commands now."""

    @abstractmethod
    async def _prepare(self, account: Account) -> None:
        """Make what the server needs before its first start."""

    def _is_passing(self, log_tail: str) -> bool:  # noqa: ARG002 - for the server that has such a reason
        """Tell whether the server ended for a reason that passes by itself."""
        return False

    @property
    def _socket(self) -> Path:
        return self._socket_dir / self._socket_name

    @property
    def _log(self) -> Path:
        return self._data_dir / "server.log"

    async def _start(self) -> None:
        account = self._account()
        make_private(self._data_dir, uid=account.uid, gid=account.gid)
        self._lock.take()
        make_socket_directory(self._socket_dir, uid=account.uid, gid=account.gid)
        await clear_leftovers(
            self._pid_file,
            others=(self._socket, self._socket.with_name(f"{self._socket_name}.lock")),
            program=self._program,
            data=self._data,
            within=_FORMER_SERVER_SECONDS,
        )
        await self._prepare(account)
        await self._launch(account)

    async def _launch(self, account: Account) -> None:
        deadline = time.monotonic() + _START_SECONDS
        command = Command(words=self._words(), account=account, log=self._log, death_signal=self._stop_signal)
        while True:
            self._process = ServerProcess(command)
            match await self._watch(self._process, deadline=deadline):
                case _Launch.ANSWERS:
                    return
                case _Launch.ENDED:
                    await self._allow_again(self._process, deadline=deadline)
                case _Launch.SILENT:
                    raise self._failure(f"did not answer within {_START_SECONDS:.0f} s", self._process)
                case other:
                    assert_never(other)

    async def _watch(self, process: ServerProcess, *, deadline: float) -> _Launch:
        while not await self._answers(process.pid):
            if process.has_exited:
                return _Launch.ENDED
            if time.monotonic() > deadline:
                return _Launch.SILENT
            await asyncio.sleep(_POLL_SECONDS)
        return _Launch.ANSWERS

    async def _allow_again(self, process: ServerProcess, *, deadline: float) -> None:
        if time.monotonic() > deadline or not self._is_passing(process.log_tail()):
            raise self._failure("ended at its start", process)
        await asyncio.sleep(_POLL_SECONDS)

    def _failure(self, what: str, process: ServerProcess) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"The bundled {self._name} {what}; see {self._log}, which ends:\n{process.log_tail()}"
        )
