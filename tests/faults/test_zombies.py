"""Workers that are frozen until others have taken their batches over, and then wake up."""

import signal
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.faults.conftest import QUICK, StackWith
from tests.support.processes import ServiceProcess, is_stopped
from tests.support.sql import fetch_value
from tests.support.stack import Stack, assert_ledger_agrees, body
from tests.support.waiting import eventually

Freeze = Callable[[Stack], Awaitable[tuple[ServiceProcess, str]]]
#: A vendor that refuses packaged items, or one that takes them again and a service that leaves doubt to an operator.
CAREFUL = pytest.mark.parametrize(
    ("already_packaged", "in_doubt"), [("strict", "resend"), ("lax", "park")], ids=["strict", "park"]
)

#: A worker whose call may be held for some seconds.
SLOWER = {
    "RELEASE_CALL_TIMEOUT_SECONDS": "7",
    "RELEASE_LEASE_SECONDS": "8",
    "RELEASE_GRACE_SECONDS": "8",
}


async def freeze_in_the_call(stack: Stack) -> tuple[ServiceProcess, str]:
    """Freeze a worker while the vendor has made the package and not yet answered; returns it, and the request."""
    worker = await stack.start_worker()
    await stack.emulator.hold("after_apply")
    accepted = await stack.submit(body("1"))
    await stack.emulator.wait_until_held()
    worker.send(signal.SIGSTOP)
    return worker, accepted["id"]


async def freeze_after_the_answer(stack: Stack) -> tuple[ServiceProcess, str]:
    """Freeze a worker that has its answer, before it commits it."""
    return await freeze_at(stack, "after_answer")


async def freeze_before_the_write(stack: Stack) -> tuple[ServiceProcess, str]:
    """Freeze a worker that has found its lease good, before it writes the request."""
    return await freeze_at(stack, "before_write")


async def freeze_at(stack: Stack, failpoint: str) -> tuple[ServiceProcess, str]:
    worker = await stack.start_worker(RELEASE_FAILPOINT=failpoint)
    accepted = await stack.submit(body("1"))
    await eventually(lambda: is_stopped(worker.pid), within=20.0, what="the worker at its failpoint")
    return worker, accepted["id"]


async def wake(stack: Stack, zombie: ServiceProcess) -> None:
    """Let the frozen worker go on, and wait until it has tried to write its outcome."""
    await stack.emulator.let_go()
    zombie.send(signal.SIGCONT)
    await zombie.wait_for_line("outcome.fenced", within=60.0)


@CAREFUL
@pytest.mark.parametrize("freeze", [freeze_in_the_call, freeze_after_the_answer])
async def test_a_worker_that_wakes_up_after_its_call_changes_nothing(
    stack_with: StackWith, freeze: Freeze, already_packaged: str, in_doubt: str
) -> None:
    """Meanwhile another worker has found the package; the old one writes nothing, and the vendor was called once."""
    faults = {"already_packaged": already_packaged}
    async with stack_with(faults, RELEASE_IN_DOUBT=in_doubt, **QUICK) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
        await stack.start_api()
        zombie, request_id = await freeze(stack)
        await stack.start_worker()
        released = await stack.wait_for(request_id, "released", within=60.0)
        await wake(stack, zombie)

        assert await stack.show(released["id"]) == released
        assert len(await stack.emulator.calls()) == 1
        await assert_ledger_agrees(stack, [released])


@CAREFUL
async def test_a_worker_that_wakes_up_before_its_write_makes_no_second_package(
    stack_with: StackWith, already_packaged: str, in_doubt: str
) -> None:
    """It does send the call that it had found good; the strict vendor refuses it, with park it is the only one."""
    faults = {"already_packaged": already_packaged}
    async with stack_with(faults, RELEASE_IN_DOUBT=in_doubt, **QUICK) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
        await stack.start_api()
        zombie, request_id = await freeze_before_the_write(stack)
        await stack.start_worker()
        settled = await stack.wait_for(request_id, "released", "needs_attention", within=60.0)
        await wake(stack, zombie)
        statuses = await eventually(
            lambda: ended_calls(stack, at_least=2 if in_doubt == "resend" else 1), within=30.0
        )

        assert settled["state"] == ("released" if in_doubt == "resend" else "needs_attention")
        assert await stack.show(settled["id"]) == settled
        assert statuses[1:] == ([400] if in_doubt == "resend" else [])
        assert [package["items"] for package in await stack.emulator.packages()] == [["1"]]


async def test_a_worker_that_wakes_up_during_the_call_of_the_next_leaves_it_alone(
    stack_with: StackWith,
) -> None:
    """The batch is being sent again, under a new epoch: what the old worker has to say is about another call."""
    async with stack_with({"rules": [{"fault": "drop_before", "count": 1}]}, **QUICK) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
        await stack.start_api()
        zombie, request_id = await freeze_after_the_answer(stack)
        await stack.emulator.hold("before_apply")
        await stack.start_worker(**SLOWER)
        await stack.emulator.wait_until_held(within=40.0)
        zombie.send(signal.SIGCONT)
        await zombie.wait_for_line("outcome.fenced", within=60.0)
        await stack.emulator.let_go()
        released = await stack.wait_for(request_id, "released", within=60.0)
        attempts = (await stack.batch(released["items"][0]["batch_id"]))["attempts"]

        assert [attempt["outcome"] for attempt in attempts] == ["in_doubt", "released"]
        await assert_ledger_agrees(stack, [released])


async def test_the_gap_that_is_left_is_the_one_that_the_readme_names(stack_with: StackWith) -> None:
    """Lax vendor, resend, frozen between the last look at the lease and the write until all was settled: a double."""
    async with stack_with({"already_packaged": "lax"}, **QUICK) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
        await stack.start_api()
        zombie, request_id = await freeze_before_the_write(stack)
        await stack.start_worker()
        released = await stack.wait_for(request_id, "released", within=60.0)
        await wake(stack, zombie)
        await eventually(lambda: ended_calls(stack, at_least=2), within=30.0)

        assert await stack.show(released["id"]) == released
        assert len((await stack.emulator.ledger())["duplicates"]) == 1


async def ended_calls(stack: Stack, *, at_least: int) -> list[int | None]:
    """Return the status of every call, once there are so many and all have ended; else nothing."""
    calls = await stack.emulator.calls()
    is_over = len(calls) >= at_least and all(call["ended"] for call in calls)
    return [call["status"] for call in calls] if is_over else []


async def test_a_worker_that_is_frozen_before_its_last_look_sends_nothing(stack_with: StackWith) -> None:
    """Frozen while it claims, it finds its lease over when it wakes up; the batch is sent under a new claim."""
    async with stack_with({"already_packaged": "lax"}, **QUICK) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
        await stack.start_api()
        worker = await stack.start_worker()
        locker = await asyncpg.connect(stack.database_url)
        await locker.execute("BEGIN; LOCK TABLE attempts IN EXCLUSIVE MODE")
        accepted = await stack.submit(body("1"))
        await eventually(lambda: is_seal_blocked(stack), within=20.0)
        worker.send(signal.SIGSTOP)
        await locker.close()
        await eventually(lambda: is_lease_over(stack), within=20.0)
        worker.send(signal.SIGCONT)
        request = await stack.wait_for(accepted["id"], "released", within=60.0)
        attempts = (await stack.batch(request["items"][0]["batch_id"]))["attempts"]

        assert attempts[0]["sent_at"] is None
        assert [attempts[0]["outcome"], attempts[-1]["outcome"]] in (
            ["not_sent", "released"],
            ["in_doubt", "released"],
        )
        assert len(await stack.emulator.calls()) == 1


#: How long ago the transaction that seals a batch began, in seconds.
SEAL_AGE = """
SELECT extract(epoch FROM clock_timestamp() - xact_start)
FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%INSERT INTO batches%' AND pid <> pg_backend_pid()
"""


async def is_seal_blocked(stack: Stack) -> bool:
    return await fetch_value(stack.database_url, f"{SEAL_AGE} AND wait_event_type = 'Lock'") is not None


async def is_lease_over(stack: Stack) -> bool:
    """Tell whether the claim, of which nothing is committed, began more than a lease ago."""
    age = await fetch_value(stack.database_url, SEAL_AGE)
    return age is not None and age > float(QUICK["RELEASE_LEASE_SECONDS"]) + 0.5
