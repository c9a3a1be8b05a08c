"""A worker keeps its batch for as long as it is at it."""

from datetime import datetime

from tests.faults.conftest import QUICK, StackWith
from tests.support.invariants import check_invariants
from tests.support.processes import ServiceProcess
from tests.support.proxy import Mode, PostgresProxy
from tests.support.sql import fetch_value
from tests.support.stack import Stack, assert_ledger_agrees, body
from tests.support.waiting import eventually

#: A call that is held may last for two beats of its worker.
SLOWER = {
    "RELEASE_CALL_TIMEOUT_SECONDS": "5",
    "RELEASE_LEASE_SECONDS": "6",
    "RELEASE_GRACE_SECONDS": "8",
    "RELEASE_SWEEP_SECONDS": "0.3",
}


async def test_a_running_call_has_its_lease_extended(stack_with: StackWith) -> None:
    """While the vendor holds a call, the end of the lease moves on, and nobody takes the batch over."""
    async with stack_with(**SLOWER) as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.emulator.hold("after_apply")
        accepted = await stack.submit(body("1"))
        await stack.emulator.wait_until_held()
        await extended_beyond(stack, await lease_end(stack))
        await stack.emulator.let_go()
        request = await stack.wait_for(accepted["id"], "released", "in_doubt")
        batch = await stack.batch(request["items"][0]["batch_id"])

        assert request["state"] == "released"
        assert batch["epoch"] == 1
        await assert_ledger_agrees(stack, [request])


async def test_a_beat_that_finds_no_postgres_is_not_the_last(
    stack_with: StackWith, proxy: PostgresProxy
) -> None:
    """Postgres is away from a worker for one beat; the next one extends the lease."""
    async with stack_with(**SLOWER) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
        await stack.start_api()
        worker = await stack.start_worker(RELEASE_DATABASE_URL=proxy.url)
        await stack.emulator.hold("after_apply")
        accepted = await stack.submit(body("1"))
        await stack.emulator.wait_until_held()
        first = await lease_end(stack)
        away(proxy)
        await worker.wait_for_line("heartbeat.failed")
        proxy.mode = Mode.PASS
        await extended_beyond(stack, first)
        await stack.emulator.let_go()
        request = await stack.wait_for(accepted["id"], "released", "in_doubt")
        batch = await stack.batch(request["items"][0]["batch_id"])

        assert request["state"] == "released"
        assert batch["epoch"] == 1
        assert len(await stack.emulator.calls()) == 1
        await check_invariants(stack, [accepted["id"]])


async def test_an_outcome_that_comes_after_its_lease_is_not_written(
    stack_with: StackWith, proxy: PostgresProxy
) -> None:
    """Postgres is away from a worker from its call on until others have taken over: they find its one package."""
    async with stack_with({"already_packaged": "lax"}, **QUICK) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": "1"}])
        await stack.start_api()
        worker = await stack.start_worker(RELEASE_DATABASE_URL=proxy.url, **SLOWER)
        await stack.emulator.hold("after_apply")
        accepted = await stack.submit(body("1"))
        await stack.emulator.wait_until_held()
        away(proxy)
        await stack.start_worker()
        await eventually(lambda: failed_beats(worker) >= 2, within=10.0, what="two beats without Postgres")
        await stack.emulator.let_go()
        await stack.wait_for(accepted["id"], "in_doubt", within=10.0)
        proxy.mode = Mode.PASS
        await worker.wait_for_line(
            '"outcome":"released".*outcome.fenced|outcome.fenced.*"outcome":"released"'
        )
        request = await stack.wait_for(accepted["id"], "released", within=20.0)
        batch = await stack.batch(request["items"][0]["batch_id"])

        assert [attempt["outcome"] for attempt in batch["attempts"]] == ["in_doubt"]
        assert batch["epoch"] > 1
        assert len(await stack.emulator.calls()) == 1
        await check_invariants(stack, [accepted["id"]])


def away(proxy: PostgresProxy) -> None:
    """Take Postgres away from who is behind the proxy."""
    proxy.mode = Mode.REFUSE
    proxy.reset()


def failed_beats(worker: ServiceProcess) -> int:
    return worker.stderr.count("heartbeat.failed")


async def lease_end(stack: Stack) -> datetime:
    end: datetime = await fetch_value(stack.database_url, "SELECT lease_expires_at FROM batches")
    return end


async def extended_beyond(stack: Stack, first: datetime) -> None:
    """Wait until the lease of the one batch ends later than at first."""

    async def is_extended() -> bool:
        return await lease_end(stack) > first

    await eventually(is_extended, within=5.0, what="a longer lease")
