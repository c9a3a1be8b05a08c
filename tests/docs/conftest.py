"""A service that was started as the README says, for the examples of the docs."""

import asyncio
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import ServiceProcess
from tests.support.servers import server_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningUp:
    """What ``up`` runs, and the directory in which it was called."""

    directory: Path
    url: str

    @property
    def api_key(self) -> str:
        """The key that ``up`` made."""
        return (self.directory / ".data" / "api-key").read_text(encoding="ascii")

    @property
    def port(self) -> int:
        """The port of the HTTP process."""
        return int(self.url.rpartition(":")[2])


@pytest.fixture(scope="package")
def up(session_runner: asyncio.Runner) -> Iterator[RunningUp]:
    """Everything on this machine, as ``make up`` starts it, in a directory of its own."""
    with server_directory() as directory:
        arguments = ("up", "--data", str(directory / ".data"), "--port", "0")
        with ServiceProcess(*arguments, environment={}, directory=directory) as process:
            session_runner.run(process.wait_for_line(r"^Ctrl-C stops everything", within=60))
            found = re.search(r"^  API +(http://\S+)$", process.stdout, re.MULTILINE)
            assert found is not None, process.stdout
            yield RunningUp(directory=directory, url=found[1])
            process.send(signal.SIGINT)
            assert session_runner.run(process.wait(within=60)) == 0
