"""The audits that are made for the console: in the background, one at a time, and the last one is kept for a while.

An audit reads everything there is. No page waits for one that takes long, and who asks meanwhile gets the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web

from service.background import end_tasks
from service.core.auditing import AuditReport, Patience
from service.deps import Deps
from service.flow.audit import audit

_KEPT_SECONDS = 60.0
#: So long a page waits for its audit: with few requests that is enough.
_WAITED_FOR_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The last audit, as far as there is one, and for how long another one runs."""

    report: AuditReport | None
    runs_for: timedelta | None


class Checks:
    """Runs audits for who looks at them."""

    def __init__(self, run: Callable[[], Awaitable[AuditReport]]) -> None:
        self._run = run
        self._running: asyncio.Task[AuditReport] | None = None
        self._began_at = 0.0
        self._last: AuditReport | None = None
        self._forgotten_at = 0.0

    def start(self) -> None:
        """Begin an audit, unless one runs."""
        if self._running is None:
            self._running = asyncio.ensure_future(self._run())
            self._began_at = asyncio.get_running_loop().time()

    async def look(self, *, may_start: bool) -> Standing:
        """Return the last audit, and whether one runs; begin one where the last is too old.

        Raises:
            DatabaseUnavailable: PostgreSQL did not answer to the audit that has ended.
        """
        clock = asyncio.get_running_loop().time
        if may_start and clock() >= self._forgotten_at:
            self.start()
        if self._running is not None:
            done, _ = await asyncio.wait([self._running], timeout=_WAITED_FOR_SECONDS)
            self._take(done)
        runs_for = None if self._running is None else timedelta(seconds=clock() - self._began_at)
        return Standing(report=self._last, runs_for=runs_for)

    def _take(self, done: set[asyncio.Task[AuditReport]]) -> None:
        if self._running not in done:
            return
        ended, self._running = self._running, None
        self._last = ended.result()
        self._forgotten_at = asyncio.get_running_loop().time() + _KEPT_SECONDS

    async def close(self) -> None:
        """End the audit that runs."""
        if self._running is not None:
            await end_tasks([self._running])


CHECKS = web.AppKey("console_checks", Checks)


@asynccontextmanager
async def open_checks(deps: Deps) -> AsyncIterator[Checks]:
    """Lend what audits; it ends with the block."""
    checks = Checks(lambda: audit(deps.database, Patience.of(deps.settings)))
    try:
        yield checks
    finally:
        await checks.close()
