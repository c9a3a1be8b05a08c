"""Clears what a server that was killed has left behind.

A pid file may name a process that is gone, or one that has nothing to do with the server: after a restart of
the machine or of a container, process ids begin again. Call these only under the lock of the data directory.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from service.core.errors import EmbeddedServerError

_PROC = Path("/proc/self/cmdline")
_POLL_SECONDS = 0.02


async def clear_leftovers(
    pid_file: Path, *, others: Iterable[Path], program: str, data: Path, within: float
) -> None:
    """Wait for a former server of this data to end, then remove its files.

    A former server still runs for a moment after its parent was killed.

    Raises:
        EmbeddedServerError: It did not end within so many seconds.
    """
    deadline = time.monotonic() + within
    while (pid := read_pid(pid_file)) is not None and is_server_of(pid, program=program, data=data):
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"Process {pid} is a {program} on {data} that we did not start: stop it first."
            )
        await asyncio.sleep(_POLL_SECONDS)
    for file in (pid_file, *others):
        file.unlink(missing_ok=True)


def read_pid(pid_file: Path) -> int | None:
    """Return the process id in the first line of a pid file; None without one."""
    try:
        return int(pid_file.read_text().split("\n", maxsplit=1)[0])
    except (FileNotFoundError, ValueError):
        return None


def is_server_of(pid: int, *, program: str, data: Path) -> bool:
    """Tell whether the process is such a program, started on this data; a dead or zombie one is not."""
    if not _PROC.exists():
        return _is_server_by_ps(pid, program=program, data=data)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return Path(os.fsdecode(words[0])).name == program and os.fsencode(data) in words


def _is_server_by_ps(pid: int, *, program: str, data: Path) -> bool:
    asked = ("ps", "-o", "command=", "-p", str(pid))
    answer = subprocess.run(asked, check=False, capture_output=True, text=True).stdout  # noqa: S603 - fixed words and a number
    return f"{program} " in answer and str(data) in answer
