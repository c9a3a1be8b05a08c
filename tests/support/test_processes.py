"""The harness for processes must fail where it should."""

import signal

import pytest

from tests.conftest import StartService
from tests.support.servers import is_alive


async def test_output_and_exit_status_are_seen(start_service: StartService) -> None:
    """A command's line is found, and its exit status is told."""
    process = start_service("--help")
    found = await process.wait_for_line(r"^Usage: .*")

    assert await process.wait() == 0
    assert found[0] in process.stdout


async def test_a_line_that_never_comes_fails_with_the_output(start_service: StartService) -> None:
    """A wait ends with the process, not with the deadline, and shows what the process wrote."""
    process = start_service("no-such-command")
    with pytest.raises(AssertionError, match=r"ended with 2 before 'ready'(.|\n)*no-such-command"):
        await process.wait_for_line("ready", within=30)


async def test_a_process_ends_with_its_test(start_service: StartService) -> None:
    """A killed process is gone at once, and a signal is its exit status."""
    process = start_service("emulator", "--port", "0")
    process.kill()

    assert process.returncode == -signal.SIGKILL
    assert not is_alive(process.pid)
