"""Runs loops beside a block, and ends them with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

_CANCEL_AGAIN_SECONDS = 0.1


@asynccontextmanager
async def running(*loops: Awaitable[None]) -> AsyncIterator[None]:
    """Run background loops beside a block, and cancel them at its end."""
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        yield
    finally:
        await end_tasks(tasks)


async def end_tasks(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    """Cancel tasks until they have ended: libraries swallow a cancellation that comes at the wrong moment."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
