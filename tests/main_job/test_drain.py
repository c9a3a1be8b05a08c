"""Workers that are told to stop under load, and doorbells that nobody answers any more."""

import signal
from collections import Counter

from arq.connections import ArqRedis

from service.gateways.queue import DOORBELL_QUEUE, open_redis
from tests.main_job.conftest import StackWith
from tests.support.stack import assert_ledger_agrees, body, many_bodies, most_at_once
from tests.support.waiting import eventually

SLOW: dict[str, object] = {"latency_seconds": 0.3}


async def test_workers_stopped_again_and_again_under_load_leave_nothing_in_doubt(
    stack_with: StackWith,
) -> None:
    """Six workers in turn are told to stop in the middle of the work: each exits 0 soon, and every call was settled."""
    async with stack_with(SLOW, RELEASE_BATCH_MAX_ITEMS="3") as stack:
        await stack.start_api()
        ids = await stack.submit_all(many_bodies(400))
        codes = []
        for _ in range(6):
            seen = len(await stack.emulator.calls())
            worker = await stack.start_worker()

            async def has_called(so_far: int = seen) -> bool:
                return len(await stack.emulator.calls()) > so_far + 8

            await eventually(has_called, within=10.0)
            worker.send(signal.SIGTERM)
            codes.append(await worker.wait(within=5.0))
        await stack.start_worker()
        requests = await stack.wait_until_at_rest(ids)

        assert codes == [0] * 6
        assert Counter(request["state"] for request in requests) == {"released": 400}
        await assert_ledger_agrees(stack, requests)


async def test_a_newcomer_does_not_wait_for_a_running_call_of_its_own_key(stack_with: StackWith) -> None:
    """While the vendor takes its time over one batch, the next one of the same key is sent."""
    async with stack_with() as stack:
        await stack.start_api()
        await stack.start_worker()
        first = await stack.submit(body("0"))
        await stack.wait_for(first["id"], "released")
        await stack.emulator.hold("before_apply")
        held = await stack.submit(body("1"))
        await stack.emulator.wait_until_held()
        newcomer = await stack.submit(body("2"))
        await stack.wait_for(newcomer["id"], "released", within=2.0)
        state = (await stack.show(held["id"]))["state"]
        await stack.emulator.let_go()

        assert state == "releasing"
        await stack.wait_for(held["id"], "released")


async def test_a_large_backlog_of_one_key_is_sent_by_several_calls_at_once(stack_with: StackWith) -> None:
    """With nobody else waiting, one workspace uses the workers, not one call after the other."""
    async with stack_with(SLOW, RELEASE_BATCH_MAX_ITEMS="10") as stack:
        await stack.start_api()
        ids = await stack.submit_all([body(str(number)) for number in range(200)])
        await stack.start_worker()
        await stack.wait_until_at_rest(ids)
        calls = (await stack.emulator.calls())[1:]

        assert most_at_once(calls) >= 3


async def test_hostile_entries_stop_nobody(stack_with: StackWith, redis_url: str) -> None:
    """Ids that are no text, jobs that are no jobs, and unknown functions are dropped; work goes on at once."""
    async with stack_with() as stack:
        await stack.start_api()
        worker = await stack.start_worker()
        redis = open_redis(redis_url, max_connections=2, retries=1)
        for queue in (DOORBELL_QUEUE, "release:requests"):
            await add_hostile_entries(redis, queue)
        accepted = await stack.submit(body("1"))
        await stack.wait_for(accepted["id"], "released", within=5.0)
        envelope = {"v": 1, "idempotency_key": "k", "request": body("2")}
        job = await redis.enqueue_job("release_request", envelope, _queue_name="release:requests")
        assert job is not None
        result = await job.result(timeout=5.0, poll_delay=0.05)
        await stack.wait_for(result["id"], "released", within=5.0)
        # A doorbell leaves its queue after the work that it rang for.
        await eventually(lambda: nothing_is_left(redis), within=5.0)
        await redis.aclose()

        assert worker.returncode is None


async def nothing_is_left(redis: ArqRedis) -> bool:
    return not any([await redis.zcard(queue) for queue in (DOORBELL_QUEUE, "release:requests")])


async def add_hostile_entries(redis: ArqRedis, queue: str) -> None:
    payloads = [
        b"\x80\x04not json",
        b"[]",
        b'"text"',
        b"{}",
        b'{"f": 1}',
        b'{"t":null,"f":"nobody","a":[],"k":{},"et":1}',
    ]
    for number, payload in enumerate(payloads):
        await redis.set(f"arq:job:{queue}:{number}", payload)
        await redis.zadd(queue, {f"{queue}:{number}": 1})
    await redis.zadd(queue, {b"\xff\xfe": 1, b"\x00": 1, b"no job of this id": 1})
