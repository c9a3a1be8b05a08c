"""The windows and pauses of workspaces, as they were a second ago at most: for when to ring, and what to tell callers.

Takes: what workspaces have of their own.
Leaves: nothing. A look at a key goes by the newest settings, whenever it was rung for.
If Postgres is away: the windows stay as they were.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from service.core.errors import DatabaseUnavailable
from service.core.place import Place
from service.core.planning import Window
from service.core.workspaces import Governance

_KEPT_SECONDS = 0.5
_READ_EVERY_SECONDS = 1.0

ReadWindows = Callable[[], Awaitable[Mapping[Place, Governance]]]

_NOTHING_SETTLED = Governance()


class Windows:
    """Remembers which workspaces have a window of their own, and which are paused."""

    def __init__(self, default: Window, read: ReadWindows) -> None:
        self.default = default
        self._read = read
        self._own: Mapping[Place, Governance] = {}
        self._read_at: float | None = None
        #: Numbers of reads: the last that has begun, and the one that is gone by. One that is overtaken is dropped.
        self._begun = 0
        self._taken = 0

    async def run(self) -> None:
        """Read the windows again and again until cancelled: who asks for a pause does not wait for a read."""
        while True:
            await self.refresh()
            await asyncio.sleep(_READ_EVERY_SECONDS)

    async def refresh(self) -> None:
        """Read the windows, unless that was done a moment ago."""
        now = asyncio.get_running_loop().time()
        if self._read_at is not None and now < self._read_at + _KEPT_SECONDS:
            return
        self._read_at = now
        self._begun += 1
        number = self._begun
        try:
            own = await self._read()
        except DatabaseUnavailable:
            return
        if number > self._taken:
            self._own, self._taken = own, number

    async def read_anew(self) -> None:
        """Read the windows now: one of them has changed."""
        self._read_at = None
        await self.refresh()

    def of(self, place: Place) -> Window:
        """Return the window of a workspace."""
        return self._own.get(place, _NOTHING_SETTLED).own.window(self.default)

    def is_paused(self, place: Place) -> bool:
        """Tell whether a workspace was paused when that was read last."""
        return self._own.get(place, _NOTHING_SETTLED).is_paused
