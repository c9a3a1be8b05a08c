"""Runs the service as users do: as a process of its own."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.nursery import REPOSITORY, Order, spawn
from tests.support.waiting import eventually

_PASSED_ON = ("PATH", "TMPDIR", "LANG", "LC_ALL")


class ServiceProcess:
    """``python -m service ARGUMENTS`` in ``directory`` with only the given environment; killed at the end.

    Output goes to files in the directory, so it can be read at any time and never blocks the process.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str], directory: Path) -> None:
        number = len(list(directory.glob("*.stdout")))
        self._stdout = directory / f"{number}.stdout"
        self._stderr = directory / f"{number}.stderr"
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            order = Order(
                module="service",
                arguments=arguments,
                environment=_environment(environment, home=directory),
                directory=str(directory),
            )
            self._child = spawn(order, stdout=stdout, stderr=stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while the process runs."""
        return self._child.poll()

    @property
    def stdout(self) -> str:
        """What it has written to standard output so far."""
        return self._stdout.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""
        return self._stderr.read_text(errors="replace")

    async def wait_for_line(self, pattern: str, *, within: float = 20.0) -> re.Match[str]:
        """Wait for a line of either output that has the pattern, and return the match.

        Raises:
            AssertionError: It did not come in time, or the process ended without it.
        """
        try:
            found = await eventually(lambda: self._find_or_end(pattern), within=within, what=repr(pattern))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.stdout}\n{self.stderr}") from None
        if isinstance(found, re.Match):
            return found
        raise AssertionError(
            f"it ended with {self.returncode} before {pattern!r}\n{self.stdout}\n{self.stderr}"
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self._child.send_signal(number)

    async def wait(self, *, within: float = 20.0) -> int:
        """Wait for the end and return the exit status, negative for a signal.

        Raises:
            AssertionError: It did not end in time.
        """
        try:
            return await asyncio.to_thread(self._child.wait, within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {within} s\n{self.stdout}\n{self.stderr}") from None

    def kill(self) -> None:
        """End the process and the processes of its session at once; harmless after the end."""
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def _find_or_end(self, pattern: str) -> re.Match[str] | str | None:
        """Look at the end first: what is read after it is all that will ever come."""
        has_ended = self.returncode is not None
        found = re.search(pattern, f"{self.stdout}\n{self.stderr}", re.MULTILINE)
        return found or ("ended" if has_ended else None)


def is_stopped(pid: int) -> bool:
    """Tell whether a signal has stopped the process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _environment(given: Mapping[str, str], *, home: Path) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    ours = {"HOME": str(home), "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    return {**passed_on, **ours, **given}
