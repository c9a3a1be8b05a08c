"""Workers are killed with kill -9 at every named point of a call; the next one goes on with what they left.

``RELEASE_CHAOS_SEEDS`` says how many seeds each point gets; a seed decides how much there is to do, and
when the kill comes.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping

import pytest

from tests.faults.conftest import QUICK, LendStack, StackWith
from tests.support.invariants import check_invariants
from tests.support.processes import ServiceProcess, is_stopped
from tests.support.sql import fetch_value
from tests.support.stack import Stack, body
from tests.support.waiting import eventually

SEEDS = int(os.environ.get("RELEASE_CHAOS_SEEDS", "1"))
SECONDS_A_STEP = 8

Reach = Callable[[Stack, ServiceProcess], Awaitable[None]]


async def in_the_window(_stack: Stack, _worker: ServiceProcess) -> None:
    """The items still wait, or are just being sealed: the kill comes at a random moment."""


async def held(stack: Stack, _worker: ServiceProcess) -> None:
    await stack.emulator.wait_until_held(within=20.0)


async def stopped_itself(_stack: Stack, worker: ServiceProcess) -> None:
    await eventually(lambda: is_stopped(worker.pid), within=20.0, what="the worker at its failpoint")


#: What the worker, and what the vendor is told beforehand; and how the test learns that the point is reached.
POINTS: Mapping[str, tuple[str | None, str | None, Reach]] = {
    "before-claim": (None, None, in_the_window),
    "before-write": ("before_write", None, stopped_itself),
    "before-apply": (None, "before_apply", held),
    "after-apply": (None, "after_apply", held),
    "after-answer-sent": (None, "after_answer", held),
    "after-answer-read": ("after_answer", None, stopped_itself),
}

#: A kill in the open window may find nothing begun, one after the answer has left may find it settled.
SURELY_IN_DOUBT = POINTS.keys() - {"before-claim", "after-answer-sent"}


@pytest.mark.long
@pytest.mark.timeout(60 + len(POINTS) * SEEDS * SECONDS_A_STEP)
async def test_each_item_is_released_once_wherever_a_worker_is_killed(lend_stack: LendStack) -> None:
    """At each point, with each seed, a worker dies; in the end every item is in one package, and the vendor agrees."""
    await asyncio.gather(kill_at_all_points(lend_stack, "strict"), kill_at_all_points(lend_stack, "lax"))


async def kill_at_all_points(lend_stack: LendStack, already_packaged: str) -> None:
    """Kill workers one after the other, let the last one finish, and compare with a vendor of that kind."""
    faults = {"already_packaged": already_packaged, "latency_seconds": 0.02}
    async with lend_stack(faults, RELEASE_BATCH_QUIET_SECONDS="0.1", **QUICK) as stack:
        await stack.start_api()
        ids = [
            request_id
            for seed in range(1, SEEDS + 1)
            for point in POINTS
            for request_id in await kill_one_at(stack, point, seed)
        ]
        await stack.start_worker()
        await check_invariants(stack, ids)
        states = {(await stack.show(request_id))["state"] for request_id in ids}
        doubts = await fetch_value(
            stack.database_url, "SELECT count(*) FROM attempts WHERE outcome = 'in_doubt'"
        )

        assert doubts >= len(SURELY_IN_DOUBT) * SEEDS, "the kills missed their points"
        assert states == {"released"}


async def kill_one_at(stack: Stack, point: str, seed: int) -> list[str]:
    """Let a new worker do some work and kill it at the point; returns the ids of the requests."""
    chance = random.Random(f"{point}-{seed}")  # noqa: S311 - a choice, not a secret
    failpoint, hold_point, reach = POINTS[point]
    worker = await stack.start_worker(**({"RELEASE_FAILPOINT": failpoint} if failpoint else {}))
    if hold_point:
        await stack.emulator.hold(hold_point)
    ids = await submit_some(stack, f"{point}-{seed}", chance)
    await reach(stack, worker)
    await asyncio.sleep(chance.choice([0, chance.uniform(0, 0.4)]))
    worker.send(signal.SIGKILL)
    await worker.wait()
    await stack.emulator.let_go()
    return ids


async def submit_some(stack: Stack, workspace: str, chance: random.Random) -> list[str]:
    """Hand in one to four requests of one to three items, for one or two applicants."""
    bodies = []
    for number in range(chance.randint(1, 4)):
        items = [f"{workspace}-{number}-{index}" for index in range(chance.randint(1, 3))]
        await stack.emulator.register_items(workspace, [{"pending_item_id": item} for item in items])
        bodies.append(body(*items, workspace=workspace, applicant=f"applicant-{chance.randint(1, 2)}"))
    return await stack.submit_all(bodies, connections=4)


async def test_the_batch_of_a_killed_worker_is_settled_within_the_time_that_is_promised(
    stack_with: StackWith,
) -> None:
    """From the kill, once another worker runs: at most lease, settle and recheck, and five seconds."""
    promised = 5.0 + sum(float(QUICK[f"RELEASE_{name}_SECONDS"]) for name in ("LEASE", "SETTLE", "RECHECK"))
    async with stack_with(**QUICK) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
        await stack.start_api()
        worker = await stack.start_worker(RELEASE_FAILPOINT="before_write")
        accepted = await stack.submit(body("1"))
        await stopped_itself(stack, worker)
        stopped_at = time.monotonic()
        worker.send(signal.SIGKILL)
        await stack.start_worker()
        started = time.monotonic() - stopped_at
        await stack.wait_for(accepted["id"], "released", within=promised)

        assert time.monotonic() - stopped_at - started <= promised
        assert len(await stack.emulator.calls()) == 1
