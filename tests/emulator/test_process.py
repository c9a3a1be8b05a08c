"""The emulator as a process: how it starts, how it ends."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.emulator.vendor_caller import VendorCaller
from tests.support.emulator import EmulatorProcess
from tests.support.nursery import REPOSITORY
from tests.support.waiting import eventually

COMMAND = [sys.executable, "-m", "service.emulator"]
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "service.emulator", "--die-with-parent"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_success(number: signal.Signals) -> None:
    """It prints one line when it listens, and exits 0 on SIGTERM and SIGINT."""
    child = await asyncio.create_subprocess_exec(*COMMAND, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert child.stdout is not None
    line = (await child.stdout.readline()).decode()
    url = line.removeprefix("emulator ready on ").strip()
    async with aiohttp.request("GET", f"{url}/_ledger") as response:
        status = response.status
    child.send_signal(number)
    rest, _ = await child.communicate()

    assert status == 200
    assert (child.returncode, rest) == (0, b"")


async def test_a_held_call_does_not_keep_it_alive(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """SIGTERM ends it with success in a moment, though a call is held."""
    await own_emulator.hold("after_apply")
    waiting = asyncio.create_task(vendor_caller.create("1"))
    await own_emulator.wait_until_held()
    status = await asyncio.wait_for(own_emulator.stop(), 5)
    [outcome] = await asyncio.gather(waiting, return_exceptions=True)

    assert status == 0
    assert isinstance(outcome, aiohttp.ClientError)


async def test_it_dies_with_its_parent() -> None:
    """A kill -9 of the starter leaves no emulator behind."""
    parent = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", PARENT], cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    lines = {(await parent.stdout.readline()).decode() for _ in range(2)}
    pid = next(int(line) for line in lines if line.strip().isdecimal())
    parent.kill()
    await parent.wait()

    assert await eventually(lambda: has_ended(pid), what="the end of the emulator")


@pytest.mark.parametrize(
    ("content", "part"), [('{"rates": 1}', "rates: no such member"), (None, "No such file")]
)
async def test_a_bad_faults_file_stops_the_start(tmp_path: Path, content: str | None, part: str) -> None:
    """The sentence names the file and the member; the exit status says usage."""
    path = tmp_path / "faults.json"
    if content is not None:
        path.write_text(content)
    child = await asyncio.create_subprocess_exec(
        *COMMAND, "--faults", str(path), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, stderr = await child.communicate()

    assert child.returncode == 2
    assert str(path) in stderr.decode()
    assert part in stderr.decode()


async def test_a_used_port_stops_the_start(own_emulator: EmulatorProcess) -> None:
    """The second emulator on a port says so and exits 1."""
    port = own_emulator.url.rpartition(":")[2]
    child = await asyncio.create_subprocess_exec(
        *COMMAND, "--port", port, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, stderr = await child.communicate()

    assert child.returncode == 1
    assert "address already in use" in stderr.decode()


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or a zombie that nobody waits for."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
