"""The first half of a process: what accepts requests and rings for them. Both doors share it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.background import running
from service.deps import Deps
from service.flow.group_commit import Acceptor
from service.flow.ring import Waker


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """The acceptor and the waker of one process."""

    acceptor: Acceptor
    waker: Waker


@asynccontextmanager
async def open_intake(deps: Deps) -> AsyncIterator[Intake]:
    """Run the acceptor and the waker beside a block."""
    waker = Waker(deps.doorbells, deps.settings.window)
    acceptor = Acceptor(deps.database, waker)
    async with running(waker.run(), acceptor.run()):
        yield Intake(acceptor=acceptor, waker=waker)
