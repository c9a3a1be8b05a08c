"""Two hundred callers wait for a table that is locked: they are told so in time, and health does not wait with them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.faults.conftest import StackOn
from tests.support.stack import Stack, body
from tests.support.waiting import eventually


@asynccontextmanager
async def locked(database_url: str, table: str) -> AsyncIterator[None]:
    """Let nobody else use a table beside a block."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        await connection.close()


async def test_health_answers_and_callers_are_refused_in_time(
    stack_on: StackOn, database_url: str, redis_url: str
) -> None:
    """While no connection comes free health answers within 1.5 s, everybody else gets 503; then all works again."""
    async with stack_on(database_url, redis_url) as stack:
        first = await stack.submit(body("0"))
        async with locked(database_url, "release_requests"):
            asking = asyncio.gather(
                *(ask(stack, "POST", item) for item in range(1, 101)),
                *(ask(stack, "GET", item, request_id=first["id"]) for item in range(100)),
            )
            health = await health_until(stack, asking)
            answers = await asking

        async def is_accepted() -> bool:
            return (await ask(stack, "POST", 1))[0] == 202

        await eventually(is_accepted, within=10.0)
        await stack.wait_for(first["id"], "released", within=15.0)

    assert len(health) >= 20
    assert {status for status, _ in health} == {200}
    assert max(seconds for _, seconds in health) < 1.5
    assert Counter(answers) == {(503, "2"): 200}


async def ask(stack: Stack, method: str, item: int, *, request_id: str = "") -> tuple[int, str | None]:
    """Hand in an item, or ask for a request; returns the status and when to ask again."""
    url = f"{stack.url}/v1/release-requests" + (f"/{request_id}" if request_id else "")
    headers = {"Idempotency-Key": f"key-{item}"}
    json = body(str(item)) if method == "POST" else None
    async with stack.http.request(method, url, json=json, headers=headers) as response:
        await response.read()
        return response.status, response.headers.get("Retry-After")


async def health_until(stack: Stack, asking: "asyncio.Future[Any]") -> list[tuple[int, float]]:
    """Ask for health again and again until the others have their answers; returns statuses and seconds."""
    loop = asyncio.get_running_loop()
    seen = []
    while not asking.done():
        started = loop.time()
        async with stack.http.get(f"{stack.url}/readyz") as response:
            await response.read()
            seen.append((response.status, loop.time() - started))
        await asyncio.wait([asking], timeout=0.2)
    return seen
