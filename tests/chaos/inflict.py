"""Inflicts the faults of a schedule on a world, and takes each back."""

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.schedule import Fault
from tests.chaos.world import Pause, World, end_process
from tests.support.link import Mode
from tests.support.sql import fetch_value

BUSIEST_WORKSPACE = """
SELECT workspace FROM release_items WHERE state = 'waiting' GROUP BY workspace ORDER BY count(*) DESC LIMIT 1
"""


async def inflict_all(world: World, tracks: Sequence[Sequence[Fault]]) -> None:
    """Inflict the faults of all tracks at their times; at the end everything works again."""
    loop = asyncio.get_running_loop()
    begun_at = loop.time()

    async def follow(track: Sequence[Fault]) -> None:
        for fault in track:
            await asyncio.sleep(max(0.0, begun_at + fault.at - loop.time()))
            await inflict(world, fault)

    async with asyncio.TaskGroup() as group:
        for track in tracks:
            group.create_task(follow(track))


async def inflict(world: World, fault: Fault) -> None:
    """Inflict one fault, for as long as it lasts."""
    match fault.kind, fault.target:
        case "faults", _:
            await _befall_vendor(world, fault)
        case "flush", _:
            await _flush(world)
        case "pause" | "slow", _:
            await _operate(world, fault)
        case "kill" | "stop", "postgres" | "valkey":
            await _take_server_away(world, fault)
        case "freeze", name:
            await _freeze(world, name, fault.lasts)
        case kind, name if kind.startswith("link_"):
            await _spoil_link(world, name, fault)
        case kind, name:
            await _end_and_refill(world, name, kind, fault.lasts)


async def _befall_vendor(world: World, fault: Fault) -> None:
    await world.emulator.patch_faults(fault.detail)
    await asyncio.sleep(fault.lasts)
    await world.emulator.patch_faults({"rules": [], "list_lag_seconds": 0.0, "latency_seconds": 0.0})


async def _flush(world: World) -> None:
    with suppress(RedisError):
        async with Redis.from_url(world.valkey.url) as redis:
            await redis.flushall()


async def _operate(world: World, fault: Fault) -> None:
    """Pause a workspace in which something waits, or slow it down, and let it go again."""
    workspace = await _busiest_workspace(world)
    if workspace is None:
        return
    if fault.kind == "slow":
        await world.order("PUT", workspace, "settings", {"rate": 1, "max_items": 2})
        await asyncio.sleep(fault.lasts)
        await world.order("PUT", workspace, "settings", {"rate": None, "max_items": None})
        return
    await world.order("POST", workspace, "pause", {"reason": str(fault)})
    paused_at = time.time()
    await asyncio.sleep(fault.lasts)
    world.pauses.append(Pause(workspace=workspace, begins=paused_at, ends=time.time()))
    await world.order("POST", workspace, "resume", {})


async def _busiest_workspace(world: World) -> str | None:
    with suppress(OSError, asyncpg.PostgresError):
        found: str | None = await fetch_value(world.postgres.url, BUSIEST_WORKSPACE)
        return found
    return None


async def _take_server_away(world: World, fault: Fault) -> None:
    server = world.postgres if fault.target == "postgres" else world.valkey
    if fault.kind == "kill":
        server.kill()
    else:
        await server.stop()
    await asyncio.sleep(fault.lasts)
    await server.start()


async def _freeze(world: World, name: str, seconds: float) -> None:
    process = world.slots[name].process
    assert process is not None
    process.send(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    process.send(signal.SIGCONT)


async def _spoil_link(world: World, name: str, fault: Fault) -> None:
    mode = Mode(fault.kind.removeprefix("link_"))
    options: dict[str, Any] = dict(fault.detail)
    with world.links[name].misbehaving(mode, **options):
        await asyncio.sleep(fault.lasts)


async def _end_and_refill(world: World, name: str, kind: str, seconds: float) -> None:
    signals = {
        "kill": (signal.SIGKILL,),
        "term": (signal.SIGTERM,),
        "term_twice": (signal.SIGTERM, signal.SIGTERM),
    }[kind]
    await end_process(world.expect_end(name), *signals)
    await asyncio.sleep(seconds)
    world.fill(name)
