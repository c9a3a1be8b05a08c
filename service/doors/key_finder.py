"""Finds the key that a caller shows, and keeps those who guess from loading PostgreSQL.

A key that was live when it was last looked up is looked up whenever its memory is too old. All others share two
look-ups at once; beyond a short queue they are turned away unseen.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Generic, TypeVar

from service.doors import problems
from service.doors.problems import ProblemError

Found = TypeVar("Found")

#: A revoked key works for this long at most in a process that has just seen it.
_MEMORY_SECONDS = 0.5
_MOST_REMEMBERED = 10_000
_STRANGERS_AT_ONCE = 2
_STRANGERS_WAITING = 50


class KeyFinder(Generic[Found]):
    """Looks keys up, each once at a time, and remembers them for half a second."""

    def __init__(self, look_up: Callable[[bytes], Awaitable[Found | None]]) -> None:
        self._look_up_live = look_up
        self._live: dict[bytes, tuple[float, Found]] = {}
        self._not_live: dict[bytes, float] = {}
        self._running: dict[bytes, asyncio.Task[Found | None]] = {}
        self._strangers = asyncio.Semaphore(_STRANGERS_AT_ONCE)
        self._strangers_waiting = 0

    async def find(self, digest: bytes) -> Found | None:
        """Return the live key of a digest, or of a name, or None.

        Raises:
            ProblemError: too many keys that are not known are shown at once.
            Unavailable: it cannot be looked up.
        """
        now = time.monotonic()
        if digest in self._live and self._live[digest][0] > now:
            return self._live[digest][1]
        if self._not_live.get(digest, now) > now:
            return None
        if digest not in self._running:
            self._start(digest)
        return await asyncio.shield(self._running[digest])

    def forget(self) -> None:
        """Look every key up anew when it is shown next: one of them may have ended."""
        self._live = {digest: (0.0, key) for digest, (_, key) in self._live.items()}

    def _start(self, digest: bytes) -> None:
        is_stranger = digest not in self._live
        if is_stranger and self._strangers_waiting >= _STRANGERS_WAITING:
            raise ProblemError(problems.rate_limited(1.0, what="keys that are not known"))
        looking = asyncio.create_task(self._look_up(digest, is_stranger=is_stranger))
        self._running[digest] = looking
        self._strangers_waiting += is_stranger
        looking.add_done_callback(lambda done: self._end(digest, done, is_stranger=is_stranger))

    def _end(self, digest: bytes, done: "asyncio.Task[Found | None]", *, is_stranger: bool) -> None:
        del self._running[digest]
        self._strangers_waiting -= is_stranger
        if not done.cancelled():
            done.exception()  # seen by those who wait, if they still do

    async def _look_up(self, digest: bytes, *, is_stranger: bool) -> Found | None:
        async with self._strangers if is_stranger else nullcontext():
            key = await self._look_up_live(digest)
        for memory in (self._live, self._not_live):
            if len(memory) >= _MOST_REMEMBERED:
                memory.clear()
        until = time.monotonic() + _MEMORY_SECONDS
        if key is None:
            self._live.pop(digest, None)
            self._not_live[digest] = until
        else:
            self._live[digest] = (until, key)
        return key
