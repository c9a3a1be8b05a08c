"""Runs commands to their end, as users do."""

import asyncio
import json
import os
import pty
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.nursery import REPOSITORY
from tests.support.processes import ServiceProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command has printed, and how it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """What it printed, which must be JSON."""
        return json.loads(self.stdout)

    @property
    def rows(self) -> list[dict[str, str]]:
        """What it printed, which must be tab-separated values under their names."""
        names, *rows = [line.split("\t") for line in self.stdout.splitlines()]
        return [dict(zip(names, row, strict=True)) for row in rows]


class Cli:
    """Runs ``batch-release`` with an environment, in a directory."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.environment = environment
        self.directory = directory

    async def run(self, *arguments: str, within: float = 30.0, **environment: str) -> Done:
        """Run a command to its end."""
        with self.start(*arguments, **environment) as process:
            code = await process.wait(within=within)
            return Done(code=code, stdout=process.stdout, stderr=process.stderr)

    def start(self, *arguments: str, **environment: str) -> ServiceProcess:
        """Start a command."""
        return ServiceProcess(
            *arguments, environment={**self.environment, **environment}, directory=self.directory
        )


async def on_a_terminal(
    arguments: Sequence[str], *, environment: Mapping[str, str], within: float = 30.0
) -> str:
    """Run a command on a terminal of its own, and return all that it wrote there."""
    ours, theirs = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "service", *arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "TERM": "xterm", **environment},
        )
    finally:
        os.close(theirs)
    written = await asyncio.wait_for(asyncio.to_thread(_read_to_end, ours), within)
    await process.wait()
    return written


def _read_to_end(terminal: int) -> str:
    written = b""
    with suppress(OSError):  # how Linux says that nobody writes to a terminal any more
        while chunk := os.read(terminal, 65_536):
            written += chunk
    os.close(terminal)
    return written.decode()
