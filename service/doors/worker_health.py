"""The worker's own address: whether its loop turns, whether it can do its work, and its figures."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from aiohttp import web

from service import __version__
from service.deps import WorkerDeps
from service.doors.connections import Capacity
from service.doors.health import answer_health, ready
from service.doors.http import edge
from service.doors.keys import DEPS, ODD_LINES, SCRAPER
from service.doors.line_budget import LineBudget
from service.doors.metrics import scrape
from service.doors.operation import checked
from service.doors.scraper import Scraper
from service.doors.server import Bounds, Runner

#: A loop that has not come round for this many of its periods, and this long at least, stands still.
_PERIODS = 5
_SHORTEST = timedelta(seconds=30)
_MOST_CONNECTIONS = 64


class Pulse:
    """When a loop last came round."""

    def __init__(self, period: timedelta, *, shortest: timedelta = _SHORTEST) -> None:
        self._longest = max(_PERIODS * period, shortest).total_seconds()
        self._last_beat = time.monotonic()

    def beat(self) -> None:
        """Say that the loop has come round."""
        self._last_beat = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether the loop has come round lately."""
        return time.monotonic() - self._last_beat < self._longest


PULSE = web.AppKey("pulse", Pulse)


@asynccontextmanager
async def serve_health(deps: WorkerDeps, pulse: Pulse, *, port: int) -> AsyncIterator[None]:
    """Serve ``/livez``, ``/readyz`` and ``/metrics`` beside a block; port 0 serves nothing."""
    if port == 0:
        yield
        return
    app = web.Application(middlewares=[edge])
    app[DEPS], app[SCRAPER] = deps, Scraper(deps)
    app[PULSE], app[ODD_LINES] = pulse, LineBudget()
    app.router.add_get("/livez", live)
    app.router.add_get("/readyz", checked(ready))
    app.router.add_get("/metrics", checked(scrape))
    runner = Runner(app, Bounds(capacity=Capacity(connections=_MOST_CONNECTIONS)), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, deps.settings.http_host, port).start()
        yield
    finally:
        await runner.cleanup()


async def live(request: web.Request) -> web.Response:
    """Say whether the worker's loop turns, not only its process."""
    is_alive = request.app[PULSE].is_alive
    status = "ok" if is_alive else "the worker's loop stands still"
    return answer_health({"status": status, "version": __version__}, 200 if is_alive else 503)
