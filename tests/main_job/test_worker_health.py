"""The worker's own health address."""

from datetime import timedelta

import aiohttp

from service.background import running
from service.doors.worker_health import Pulse, serve_health
from service.flow.sweep import run_sweeps
from tests.main_job.conftest import StackWith
from tests.support.stack import free_port
from tests.support.waiting import eventually
from tests.support.worker_deps import worker_deps


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


async def test_a_worker_whose_loop_has_ended_is_not_alive(database_url: str, redis_url: str) -> None:
    """While the process still answers, the end of its loop shows at ``/livez`` and nowhere else."""
    port = free_port()
    async with worker_deps(database_url, redis_url, RELEASE_SWEEP_SECONDS="0.05") as deps:
        pulse = Pulse(timedelta(0), shortest=timedelta(seconds=1))
        async with serve_health(deps, pulse, port=port):
            async with running(run_sweeps(deps, on_round=pulse.beat)):
                await eventually(lambda: lives(port), within=5.0)
                turning = [await lives(port) for _ in range(5)]
            await eventually(lambda: has_died(port), within=10.0)
            async with aiohttp.request("GET", f"http://127.0.0.1:{port}/readyz") as response:
                ready = response.status

    assert turning == [True] * 5
    assert ready == 200


async def lives(port: int) -> bool:
    async with aiohttp.request("GET", f"http://127.0.0.1:{port}/livez") as response:
        return response.status == 200


async def has_died(port: int) -> bool:
    return not await lives(port)
