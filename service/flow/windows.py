"""The batching windows of workspaces, as they were half a second ago at most: for when to ring, not for what to send.

Takes: the settings that workspaces have of their own.
Leaves: nothing. A look at a key goes by the newest settings, whenever it was rung for.
If Postgres is away: the windows stay as they were.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from service.core.errors import DatabaseUnavailable
from service.core.place import Place
from service.core.planning import Window
from service.core.workspaces import NOTHING_OWN, OwnSettings

_KEPT_SECONDS = 0.5

ReadWindows = Callable[[], Awaitable[Mapping[Place, OwnSettings]]]


class Windows:
    """Remembers which workspaces have a window of their own."""

    def __init__(self, default: Window, read: ReadWindows) -> None:
        self.default = default
        self._read = read
        self._own: Mapping[Place, OwnSettings] = {}
        self._read_at: float | None = None

    async def refresh(self) -> None:
        """Read the windows, unless that was done a moment ago."""
        now = asyncio.get_running_loop().time()
        if self._read_at is not None and now < self._read_at + _KEPT_SECONDS:
            return
        self._read_at = now
        try:
            self._own = await self._read()
        except DatabaseUnavailable:
            return

    def forget(self) -> None:
        """Read the windows anew the next time: one of them has changed."""
        self._read_at = None

    def of(self, place: Place) -> Window:
        """Return the window of a workspace."""
        return self._own.get(place, NOTHING_OWN).window(self.default)
