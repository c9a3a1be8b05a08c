"""Lets few requests that cost much be served at a time, so that the others do not suffer from them.

Lists cost time of the event loop, and large bodies memory for as long as they take to come.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.core.errors import Overloaded

_LONGEST_WAIT_SECONDS = 5.0


class Turns:
    """Who costs much waits for a turn, for a while."""

    def __init__(self, *, at_once: int, most_waiting: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._most_waiting = most_waiting
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether the next one has to wait."""
        return self._free.locked()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it beside a block.

        Raises:
            Overloaded: too many wait, or it took too long.
        """
        if self._waiting >= self._most_waiting:
            raise Overloaded
        self._waiting += 1
        try:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()
