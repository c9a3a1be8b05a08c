"""Redis may lose anything at any time: it costs time, never a request, and nobody has to help."""

import asyncio
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from service.embedded.valkey import EmbeddedValkey
from service.gateways.doorbells import BELLS_PER_KEY, bell_id
from service.gateways.queue import DOORBELL_QUEUE
from tests.faults.conftest import StackOn
from tests.faults.load import Load, assert_all_released, seconds_from_a_kill, seconds_to_first_release
from tests.support.servers import frozen
from tests.support.sql import fetch_value
from tests.support.stack import Stack, body
from tests.support.waiting import eventually

Recorder = Callable[[str, object], None]

#: From Redis' return to the first release.
SOON = 5.0


async def test_everything_is_lost_again_and_again_under_load(
    stack_on: StackOn, database_url: str, forgetful_valkey: EmbeddedValkey
) -> None:
    """With all keys lost, or all of arq's, twice a second for five seconds, every accepted request is released."""
    async with (
        stack_on(database_url, forgetful_valkey.url) as stack,
        Redis.from_url(forgetful_valkey.url) as redis,
    ):
        load = Load(stack)
        async with load.running():
            for _ in range(5):
                await asyncio.sleep(0.5)  # the pace of the losses
                await redis.flushall()
                await asyncio.sleep(0.5)  # the pace of the losses
                await delete_matching(redis, "arq:*")
        await assert_all_released(stack, load)

        assert load.retries == {}
        assert all(process.returncode is None for process in stack.processes)


async def delete_matching(redis: Redis, pattern: str) -> None:
    keys = [key async for key in redis.scan_iter(pattern)]
    if keys:
        await redis.delete(*keys)


async def test_a_redis_that_was_killed_comes_back_empty(
    stack_on: StackOn, database_url: str, forgetful_valkey: EmbeddedValkey, record_property: Recorder
) -> None:
    """Killed under load and back without its memory, work resumes soon, at the rate that is allowed."""
    async with stack_on(database_url, forgetful_valkey.url, RELEASE_VENDOR_RATE="20") as stack:
        load = Load(stack)
        async with load.running():
            await eventually(stack.emulator.packages, within=10.0)
            seconds = await seconds_from_a_kill(stack, forgetful_valkey, outage=2.0)
        await assert_all_released(stack, load)

        record_property("seconds_to_first_release", seconds)
        assert load.retries == {}
        assert seconds < SOON


async def test_work_that_waits_is_released_soon_after_redis_is_back(
    stack_on: StackOn, database_url: str, forgetful_valkey: EmbeddedValkey, record_property: Recorder
) -> None:
    """With no caller left to ring, what was accepted just before Redis lost everything is found without help."""
    async with stack_on(database_url, forgetful_valkey.url) as stack:
        accepted = await stack.submit(body("1"))
        seconds = await seconds_from_a_kill(stack, forgetful_valkey, outage=1.0)
        await stack.wait_for(accepted["id"], "released")

        record_property("seconds_to_first_release", seconds)
        assert seconds < SOON


async def test_processes_start_without_redis(
    stack_on: StackOn, database_url: str, own_valkey: EmbeddedValkey, record_property: Recorder
) -> None:
    """Started before Redis, the HTTP process accepts and the worker waits; then all is released soon."""
    await own_valkey.stop()
    async with stack_on(database_url, own_valkey.url, starts=False) as stack:
        await stack.start_api()
        worker = stack.start("worker")
        await worker.wait_for_line('"waiting_for":"Redis"')
        ids = [(await stack.submit(body(str(item))))["id"] for item in range(5)]
        await own_valkey.start()
        seconds = await seconds_to_first_release(stack)
        requests = await stack.wait_until_at_rest(ids)

        record_property("seconds_to_first_release", seconds)
        assert {request["state"] for request in requests} == {"released"}
        assert seconds < SOON


async def test_a_hung_redis_holds_up_no_caller(
    stack_on: StackOn, database_url: str, own_valkey: EmbeddedValkey, record_property: Recorder
) -> None:
    """While Redis is frozen for four seconds requests are accepted as usual; when it goes on they are released."""
    async with stack_on(database_url, own_valkey.url) as stack:
        load = Load(stack)
        async with load.running():
            await eventually(stack.emulator.packages, within=10.0)
            with frozen(own_valkey.pid):
                await asyncio.sleep(4.0)  # the length of the outage
                during = len(load.ids)
            seconds = await seconds_to_first_release(stack)
        await assert_all_released(stack, load)

        record_property("seconds_to_first_release", seconds)
        assert during > 40
        assert load.retries == {}
        assert seconds < SOON


async def test_an_old_snapshot_is_harmless(
    stack_on: StackOn, database_url: str, own_valkey: EmbeddedValkey
) -> None:
    """With the Redis of some seconds ago put back, old doorbells are answered with nothing and new work goes on."""
    async with stack_on(database_url, own_valkey.url) as stack, Redis.from_url(own_valkey.url) as redis:
        load = Load(stack)
        async with load.running():
            await eventually(stack.emulator.packages, within=10.0)
            saved = await snapshot(redis)
            await asyncio.sleep(2.0)  # the age of the snapshot
            await redis.flushall()
            for key, (left_ms, dump) in saved.items():
                await redis.restore(key, max(left_ms, 0), dump, replace=True)
            await seconds_to_first_release(stack, within=SOON)
        await assert_all_released(stack, load)

        assert any(key.startswith(b"arq:") for key in saved)


async def snapshot(redis: Redis) -> dict[bytes, tuple[int, bytes]]:
    """Take a copy of all keys, again until a doorbell is among them."""

    async def taken() -> dict[bytes, tuple[int, bytes]] | None:
        found = {key: (await redis.pttl(key), await redis.dump(key)) async for key in redis.scan_iter()}
        kept = {key: (left, dump) for key, (left, dump) in found.items() if dump is not None}
        return kept if any(key.startswith(b"arq:job:look") for key in kept) else None

    return await eventually(taken, within=10.0) or {}


@pytest.mark.parametrize("kind", ["string", "hash"])
async def test_no_key_of_a_wrong_type_stops_the_work(
    stack_on: StackOn, database_url: str, redis_url: str, kind: str
) -> None:
    """Whatever somebody writes over every key of queue and limiter, the next requests are released all the same."""
    limits = {"RELEASE_VENDOR_RATE": "20", "RELEASE_WORKSPACE_RATE": "20"}
    async with stack_on(database_url, redis_url, **limits) as stack, Redis.from_url(redis_url) as redis:
        first = await stack.submit(body("1"))
        await stack.wait_for(first["id"], "released")
        for key in await all_keys(stack, redis):
            await overwrite(redis, key, kind)
        ids = [(await stack.submit(body(str(item))))["id"] for item in range(2, 5)]
        for request_id in ids:
            await stack.wait_for(request_id, "released", within=15.0)

        assert all(process.returncode is None for process in stack.processes)
        assert await redis.type(DOORBELL_QUEUE) in {b"zset", b"none"}


async def all_keys(stack: Stack, redis: Redis) -> list[str]:
    """Name every key that the work on the one batch key of the test may ever touch."""
    batch_key = await fetch_value(stack.database_url, "SELECT batch_key FROM release_items LIMIT 1")
    bells = [
        f"arq:{kind}:{bell_id(batch_key, number)}"
        for kind in ("job", "in-progress", "retry", "result")
        for number in range(BELLS_PER_KEY)
    ]
    kept = [key.decode() async for key in redis.scan_iter()]
    operation = next(key for key in kept if key.endswith(":create_package"))
    workspace = next(key for key in kept if key.startswith(operation) and key.endswith("/ws-1"))
    credential = operation.removesuffix(":create_package")
    return [
        *kept,
        *bells,
        *(DOORBELL_QUEUE, "release:requests", "arq:abort", f"{DOORBELL_QUEUE}:health-check"),
        *("release:permits:born", "release:permits:settling", f"{operation}:last_throttled"),
        *(f"{credential}:{name}" for name in ("refusals", "breaker")),
        *(
            f"{scope}:{name}"
            for scope in (operation, workspace)
            for name in ("pause", "slow", "in_flight", "writes")
        ),
        *(f"{scope}:tag:{batch_key.hex}" for scope in (operation, workspace)),
    ]


async def overwrite(redis: Redis, key: str, kind: str) -> None:
    await redis.delete(key)
    match kind:
        case "string":
            await redis.execute_command("SET", key, "nonsense")  # type: ignore[no-untyped-call]
        case _:
            await redis.execute_command("HSET", key, "tat", "nonsense")  # type: ignore[no-untyped-call]
