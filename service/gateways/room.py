"""Room for so many calls at once in one process, and for some that wait; whoever comes beyond is told so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta


class Room:
    """Counts the calls of this process alone; what all processes share is the limiter's."""

    def __init__(self, *, calls: int, waiting: int) -> None:
        self._places = asyncio.Semaphore(calls)
        self._most_waiting = waiting
        self._waiting = 0

    @asynccontextmanager
    async def place(self, *, within: timedelta) -> AsyncIterator[bool]:
        """Lend a place for the length of a block; False where there is none in time, or too many wait already."""
        if not await self._take(within):
            yield False
            return
        try:
            yield True
        finally:
            self._places.release()

    async def _take(self, within: timedelta) -> bool:
        if self._places.locked() and self._waiting >= self._most_waiting:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await self._places.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
