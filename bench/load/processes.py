"""Starts the processes of a measurement, and waits until they say that they are ready."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.embedded.process import die_with_parent

REPOSITORY = Path(__file__).resolve().parents[2]
READY = (b"ready", b"process.started", b"Starting worker")
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program, and the file that its output goes to."""

    words: Sequence[str]
    environment: Mapping[str, str]
    log: Path


@asynccontextmanager
async def running(command: Command) -> AsyncIterator[int]:
    """Run a program, lend its process id when it is ready, and end it.

    Raises:
        RuntimeError: it did not become ready; the message has its output.
    """
    with command.log.open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *command.words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            env=environment_of(command.environment),
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
    try:
        await _wait_until_ready(child, command)
        yield child.pid
    finally:
        await _end(child)


def environment_of(given: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with what every program here needs, and with what is given."""
    passed_on = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**passed_on, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **given}


async def _wait_until_ready(child: asyncio.subprocess.Process, command: Command) -> None:
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while True:
        said = command.log.read_bytes()
        if any(word in said for word in READY):
            return
        if child.returncode is not None or asyncio.get_running_loop().time() > deadline:
            raise RuntimeError(f"{' '.join(command.words)} did not start: {said.decode(errors='replace')}")
        await asyncio.sleep(0.02)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), _STOP_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()
