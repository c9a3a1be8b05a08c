"""The worker's own health address."""

from datetime import timedelta

import aiohttp

from service.doors.worker_health import Pulse
from tests.main_job.conftest import StackWith
from tests.support.stack import free_port
from tests.support.waiting import eventually


async def test_a_worker_says_that_it_lives_and_is_ready(stack_with: StackWith) -> None:
    """With a port of its own a worker answers health checks."""
    port = free_port()
    async with stack_with(RELEASE_WORKER_HTTP_PORT=str(port)) as stack:
        await stack.start_worker()
        answers = {}
        for path in ("livez", "readyz"):
            async with aiohttp.request("GET", f"http://127.0.0.1:{port}/{path}") as response:
                answers[path] = (response.status, (await response.json())["status"])

    assert answers == {"livez": (200, "ok"), "readyz": (200, "ok")}


async def test_a_loop_that_does_not_come_round_is_not_alive() -> None:
    """A pulse without beats ends, and one beat brings it back."""
    pulse = Pulse(timedelta(0), shortest=timedelta(seconds=0.05))
    at_first = pulse.is_alive
    await eventually(lambda: not pulse.is_alive, within=2.0)
    pulse.beat()

    assert at_first
    assert pulse.is_alive
