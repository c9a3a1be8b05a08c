"""Rings the doorbell of batch keys that got work, beside the request path.

Takes: notes of keys with new items.
Leaves: one waiting doorbell a key in Redis.
If it dies here: nothing is lost; the sweep rings for every key that has been due for too long.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog

from service.core.errors import QueueUnavailable
from service.core.planning import Window
from service.core.telemetry import LogEvent
from service.gateways.queue import Doorbells

#: Notes of this long share one ring.
_GATHER_SECONDS = 0.01
_RINGS_AT_ONCE = 16
#: A doorbell cannot sound before its delay is over, so no second one is needed until nearly then.
_BELL_LASTS = 0.9

log = structlog.get_logger()


@dataclass(slots=True)
class _Bell:
    """A doorbell that this process has rung: until when it surely waits, and the items noted since."""

    waits_until: float = 0.0
    items: int = 0


class Waker:
    """Gathers notes for a moment, then rings each key once."""

    def __init__(self, doorbells: Doorbells, window: Window) -> None:
        self._doorbells = doorbells
        self._window = window
        self._bells: dict[UUID, _Bell] = {}
        self._noted: dict[UUID, int] = {}
        self._has_notes = asyncio.Event()
        self._limit = asyncio.Semaphore(_RINGS_AT_ONCE)

    def note(self, batch_key: UUID, *, items: int, has_deadline: bool = False) -> None:
        """Say that a key got items; costs nothing and never fails. A deadline may close the window at any moment."""
        counted = self._window.max_items if has_deadline else items
        self._noted[batch_key] = self._noted.get(batch_key, 0) + counted
        self._has_notes.set()

    async def run(self) -> None:
        """Ring until cancelled."""
        while True:
            await self._has_notes.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._has_notes.clear()
            noted, self._noted = self._noted, {}
            self._forget_old_bells()
            await asyncio.gather(*(self._ring(key, items) for key, items in noted.items()))

    async def _ring(self, batch_key: UUID, items: int) -> None:
        bell = self._bells.setdefault(batch_key, _Bell())
        bell.items += items
        is_full = bell.items >= self._window.max_items
        now = asyncio.get_running_loop().time()
        if now < bell.waits_until and not is_full:
            return
        async with self._limit:
            try:
                is_new = await self._doorbells.ring(batch_key, delay=self._window.quiet)
                if is_full:
                    await self._doorbells.hasten(batch_key)
            except QueueUnavailable as error:
                log.warning(LogEvent.BELL_LOST, batch_key=batch_key.hex, reason=str(error))
                return
        if is_full:
            self._bells[batch_key] = _Bell(items=bell.items % self._window.max_items)
        elif is_new:
            bell.waits_until = now + _BELL_LASTS * self._window.quiet.total_seconds()

    def _forget_old_bells(self) -> None:
        now = asyncio.get_running_loop().time()
        horizon = now - self._window.linger.total_seconds()
        for key in [key for key, bell in self._bells.items() if bell.waits_until < horizon]:
            del self._bells[key]
