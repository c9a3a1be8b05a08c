"""Says every few seconds that this worker process lives, for people who look.

Takes: nothing but the process itself.
Leaves: its row in the table of workers. Nothing goes by it: leases tell who has a batch.
If it dies here: the row is not renewed, and the console calls the worker gone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from service import __version__
from service.background import running
from service.core.errors import DatabaseUnavailable
from service.core.telemetry import LogEvent
from service.core.worker_signs import REMEMBERED_FOR, SIGN_PERIOD
from service.deps import WorkerDeps
from service.gateways.store import workers
from service.gateways.store.changes import is_set_within
from service.gateways.store.database import Connection
from service.gateways.store.workers import WorkerSign

#: A process that was told to stop waits no longer than that for PostgreSQL.
_LAST_SIGN_WITHIN_SECONDS = 1.0

log = structlog.get_logger()


async def give_sign(deps: WorkerDeps, *, is_draining: bool) -> None:
    """Write once that this worker lives.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    host, pid, _ = deps.worker_name.rsplit(":", 2)
    sign = WorkerSign(
        worker_id=deps.worker_name, host=host, pid=int(pid), version=__version__, is_draining=is_draining
    )

    async def work(connection: Connection) -> None:
        await workers.keep_sign(connection, sign, forget_after=REMEMBERED_FOR)

    await deps.database.transact(work)


@asynccontextmanager
async def giving_signs(deps: WorkerDeps, draining: asyncio.Event) -> AsyncIterator[None]:
    """Say during a block that this worker lives, and at its end that it goes of its own accord."""
    try:
        async with running(run_signs(deps, draining)):
            yield
    finally:
        with suppress(DatabaseUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_SIGN_WITHIN_SECONDS):
                await give_sign(deps, is_draining=True)


async def run_signs(deps: WorkerDeps, draining: asyncio.Event) -> None:
    """Give a sign every period until cancelled, and at once when the process is told to stop."""
    while True:
        is_told = draining.is_set()
        try:
            await give_sign(deps, is_draining=is_told)
        except DatabaseUnavailable:
            pass  # the sweep, which needs PostgreSQL as often, tells
        except Exception:
            log.exception(LogEvent.SIGN_FAILED)
        if is_told:
            await asyncio.sleep(SIGN_PERIOD.total_seconds())
        else:
            await is_set_within(draining, SIGN_PERIOD.total_seconds())
