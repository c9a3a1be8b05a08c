"""The first half of a process: what accepts requests and rings for them. Both doors share it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.background import running
from service.deps import Deps
from service.flow.group_commit import Acceptor
from service.flow.ring import Waker
from service.flow.waiting_room import WaitingRoom
from service.flow.windows import Windows
from service.gateways.store.workspaces import own_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """The acceptor and the waker of one process, and what it knows of how much waits."""

    acceptor: Acceptor
    waker: Waker
    room: WaitingRoom


@asynccontextmanager
async def open_intake(deps: Deps) -> AsyncIterator[Intake]:
    """Run the acceptor, the waker, and what keeps their knowledge fresh beside a block."""
    waker = Waker(deps.doorbells, own_windows_of(deps))
    room = WaitingRoom(deps.database, deps.settings.caps)
    acceptor = Acceptor(deps.database, waker, room, deps.metrics)
    async with running(waker.run(), waker.windows.run(), room.run(), acceptor.run()):
        yield Intake(acceptor=acceptor, waker=waker, room=room)


def own_windows_of(deps: Deps) -> Windows:
    """Return the windows and pauses that workspaces have, beside what is of the deployment."""
    return Windows(deps.settings.window, read=lambda: deps.database.read(own_windows))
