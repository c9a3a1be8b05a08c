"""One server process of ours, and the lock that keeps a second one off its data.

The kernel stops the process when the thread that started it dies (Linux, prctl(2) PR_SET_PDEATHSIG), so start
it from a thread that lives as long as the service: the main one.
"""

import asyncio
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from service.core.errors import EmbeddedServerError
from service.embedded.account import Account

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 4096
_TAIL_LINES = 12
#: Nothing of ours goes to a server: our environment holds the vendor's keys.
_ENVIRONMENT = MappingProxyType({"PATH": os.defpath, "LC_ALL": "C"})


class DirectoryLock:
    """Keeps other processes off a directory; the kernel drops it when this process dies."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._file: BinaryIO | None = None

    def take(self) -> None:
        """Take the lock; harmless when this object has it.

        Raises:
            EmbeddedServerError: Another process, or another object of this one, has it.
        """
        if self._file is not None:
            return
        file = self._path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise EmbeddedServerError(
                f"{self._path.parent} is in use by a running server: stop it, or choose another directory."
            ) from None
        self._file = file

    def drop(self) -> None:
        """Drop the lock; harmless without it."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program to start, and how it ends."""

    words: Sequence[str]
    account: Account
    #: Standard output and error go here.
    log: Path
    #: What the kernel sends when this process dies.
    death_signal: signal.Signals


class ServerProcess:
    """A child in a session of its own, so that Ctrl-C reaches us and not the child.

    Raises:
        EmbeddedServerError: The program cannot be executed.
    """

    def __init__(self, command: Command) -> None:
        self._command = command
        self._child = _spawn(command)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def has_exited(self) -> bool:
        """Whether the process has ended."""
        return self._child.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; harmless after the end."""
        self._child.send_signal(number)

    async def ends_within(self, seconds: float) -> bool:
        """Wait for the end and tell whether it came in time."""
        try:
            await asyncio.to_thread(self._child.wait, seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    async def succeeds_within(self, seconds: float) -> bool:
        """Wait for the end and tell whether it came in time, with exit status 0."""
        return await self.ends_within(seconds) and self._child.returncode == 0

    def kill(self) -> None:
        """End the process at once and wait for its end; harmless after the end."""
        self._child.kill()
        self._child.wait()

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        return read_tail(self._command.log)


def read_tail(log: Path) -> str:
    """Return the last lines of a log file."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Return what a child calls before exec to be sent ``number`` by the kernel when its parent thread dies.

    It does nothing on systems other than Linux.
    """
    if sys.platform != "linux":
        return lambda: None
    # Loaded here: between fork and exec the child must not load anything.
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel


def _spawn(command: Command) -> subprocess.Popen[bytes]:
    account = command.account
    with command.log.open("wb") as log:
        try:
            return subprocess.Popen(  # noqa: S603 - the words are ours
                [*account.prefix, *command.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=command.log.parent,
                env=_ENVIRONMENT,
                start_new_session=True,
                # A change of user clears the death signal; this alone runs after it.
                preexec_fn=die_with_parent(command.death_signal),  # noqa: PLW1509 - it makes two system calls
                user=account.uid,
                group=account.gid,
                extra_groups=None if account.is_ours else (),
            )
        except OSError as error:
            raise EmbeddedServerError(
                f"{command.words[0]} cannot be run as user {account.uid} ({error.strerror}):"
                " install where that user may read, or start as an ordinary user."
            ) from error
