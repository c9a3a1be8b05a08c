"""Starts the service's processes quickly: forks them from one process that has imported everything already.

A test run starts more than a thousand processes, and most of its time went into their imports. What is forked here is
a process like any other: a session, an environment, a directory and open files of its own, nothing running yet.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO

from service.embedded.process import die_with_parent

REPOSITORY = Path(__file__).resolve().parents[2]
_IMPORTED = (
    "service.app",
    "service.cli",
    "service.commands.doctor.command",
    "service.commands.key_commands",
    "service.commands.remote.batches",
    "service.commands.remote.operations",
    "service.commands.remote.submitting",
    "service.commands.remote.trails",
    "service.commands.remote.workspaces",
    "service.commands.running",
    "service.commands.upkeep",
    "service.emulator.app",
    "service.worker",
    "uvloop",
)
_LONGEST_ORDER = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """``python -m module arguments`` in a directory, with this environment and no other."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: str


class Child:
    """A process of the nursery, with as much of ``subprocess.Popen`` as tests need."""

    def __init__(self, status: int) -> None:
        self._status = status
        weakref.finalize(self, os.close, status)
        self.pid = _read_number(status)
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        return self.returncode if self.returncode is not None else self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status.

        Raises:
            subprocess.TimeoutExpired: It did not end in time.
        """
        code = self.returncode if self.returncode is not None else self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once; harmless after the end."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if select.select([self._status], [], [], timeout)[0]:
            with self._lock:
                if self.returncode is None:
                    self.returncode = _read_number(self._status)
        return self.returncode


def spawn(order: Order, *, stdout: IO[bytes], stderr: IO[bytes]) -> Child:
    """Start a process; it is killed when this one ends."""
    reading, writing = os.pipe()
    try:
        fds = [stdout.fileno(), stderr.fileno(), writing]
        orders, _ = _nursery()
        socket.send_fds(orders, [json.dumps(asdict(order)).encode()], fds)
    finally:
        os.close(writing)
    return Child(reading)


def _write_number(fd: int, number: int) -> None:
    os.write(fd, number.to_bytes(8, "big", signed=True))


def _read_number(fd: int) -> int:
    return int.from_bytes(os.read(fd, 8), "big", signed=True)


@cache
def _nursery() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
            pass_fds=[theirs.fileno()],
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it makes two system calls
        )
    return ours, process


def _take_orders(orders: socket.socket) -> Order:
    """Fork a process for each order. Returns in that process; the nursery itself exits with the test run."""
    statuses: dict[int, int] = {}
    die_with_nursery = die_with_parent(signal.SIGKILL)
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    while True:
        ready, _, _ = select.select([orders.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report_ends(statuses)
        if orders.fileno() not in ready:
            continue
        text, fds, _, _ = socket.recv_fds(orders, _LONGEST_ORDER, 3)
        if not text:
            sys.exit()
        pid = os.fork()
        if pid == 0:
            die_with_nursery()
            _become_a_child(fds, unused=[orders.fileno(), woken, waking, *statuses.values()])
            return Order(**json.loads(text))
        for fd in fds[:2]:
            os.close(fd)
        statuses[pid] = fds[2]


def _report_ends(statuses: dict[int, int]) -> None:
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        writing = statuses.pop(pid)
        with suppress(BrokenPipeError):
            _write_number(writing, os.waitstatus_to_exitcode(status))
        os.close(writing)


def _become_a_child(fds: Sequence[int], *, unused: Sequence[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for source, target in zip(fds, (1, 2), strict=False):
        os.dup2(source, target)
    _write_number(fds[2], os.getpid())
    for fd in {*fds, *unused}:
        os.close(fd)


def _run(order: Order) -> None:
    os.chdir(order.directory)
    if order.environment.get("PYTHONPATH") != str(REPOSITORY):
        # A start-up file is run by an interpreter that starts.
        words = [sys.executable, "-m", order.module, *order.arguments]
        os.execve(sys.executable, words, dict(order.environment))  # noqa: S606 - our own interpreter
    os.environ.clear()
    os.environ.update(order.environment)
    sys.argv = [order.module, *order.arguments]
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)


def _main() -> None:
    for name in _IMPORTED:
        __import__(name)
    gc.freeze()
    _run(_take_orders(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    _main()
