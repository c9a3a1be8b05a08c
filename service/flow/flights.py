"""Does what several callers want at the same moment once, and keeps the result for a moment.

Takes: what is wanted, by a key, and how to get it.
Leaves: nothing that outlives the process.
If it dies here: the callers ask again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.background import end_tasks

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping(Generic[Result]):
    """For how long and of what results are kept, and how many at most."""

    seconds: float
    most: int
    is_kept: Callable[[Result], bool]


class Flights(Generic[Key, Result]):
    """What is under way or has just been done, by its key."""

    def __init__(self, keeping: Keeping[Result]) -> None:
        self._keeping = keeping
        self._flights: dict[Key, asyncio.Task[Result]] = {}
        #: Also those that are forgotten: somebody may still wait for them.
        self._running: set[asyncio.Task[Result]] = set()

    def __contains__(self, key: Key) -> bool:
        return key in self._flights

    async def share(self, key: Key, do: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Return the result that is kept or under way, else do it; nobody who leaves takes it away from the others."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._start(key, do)
        return await asyncio.shield(flight)

    def forget(self, is_over: Callable[[Key], bool]) -> None:
        """Let nobody have these results from now on; who waits for one still gets it."""
        for key in [key for key in self._flights if is_over(key)]:
            del self._flights[key]

    async def close(self) -> None:
        """Give up what is under way."""
        self._flights.clear()
        await end_tasks(list(self._running))

    def _start(self, key: Key, do: Callable[[], Coroutine[Any, Any, Result]]) -> asyncio.Task[Result]:
        if len(self._flights) >= self._keeping.most:
            del self._flights[next(iter(self._flights))]
        flight = asyncio.create_task(do())
        self._flights[key] = flight
        self._running.add(flight)
        flight.add_done_callback(lambda done: self._land(key, done))
        return flight

    def _land(self, key: Key, flight: asyncio.Task[Result]) -> None:
        self._running.discard(flight)
        is_kept = False
        with suppress(asyncio.CancelledError, Exception):
            is_kept = self._keeping.is_kept(flight.result())
        if is_kept:
            asyncio.get_running_loop().call_later(self._keeping.seconds, self._drop, key, flight)
        else:
            self._drop(key, flight)

    def _drop(self, key: Key, flight: asyncio.Task[Result]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
