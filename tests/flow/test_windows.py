"""What a process knows of the windows and pauses of workspaces."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from service.core.place import Place
from service.core.planning import Window
from service.core.workspaces import Governance
from service.flow.windows import Windows

PLACE = Place(project_id="p", workspace="w")
WINDOW = Window(max_items=10, quiet=timedelta(seconds=1), linger=timedelta(seconds=2))
PAUSED = Governance(paused_at=datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_read_that_is_overtaken_is_dropped() -> None:
    """A pause that was read stays, though an older read ends after it."""
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def read() -> Mapping[Place, Governance]:
        if has_begun.is_set():
            return {PLACE: PAUSED}
        has_begun.set()
        await may_end.wait()
        return {}

    windows = Windows(WINDOW, read)
    older = asyncio.ensure_future(windows.refresh())
    await has_begun.wait()
    await windows.read_anew()
    may_end.set()
    await older

    assert windows.is_paused(PLACE)
