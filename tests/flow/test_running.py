"""Background loops end with the block that they run beside, whatever happens to a cancellation."""

import asyncio

from service.background import running


async def test_a_loop_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    """Libraries swallow a cancellation that comes at the wrong moment; the next one ends the loop."""
    swallowed: list[str] = []
    is_waiting = asyncio.Event()

    async def stubborn() -> None:
        for name in ("first", "second"):
            try:
                is_waiting.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(name)
        await asyncio.Event().wait()

    async with asyncio.timeout(5), running(stubborn()):
        await is_waiting.wait()

    assert swallowed == ["first", "second"]
