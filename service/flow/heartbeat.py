"""Keeps a batch ours while its call, or the settling of it, still runs.

Takes: a batch that this worker has claimed.
Leaves: a lease that ends one lease after the last beat. The moment after which nothing is sent stays that of the claim.
If it dies here: the lease runs out and the batch is in doubt.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service.core.errors import DatabaseUnavailable
from service.core.model import Batch
from service.core.telemetry import LogEvent
from service.deps import WorkerDeps
from service.gateways.store import leases

#: Two beats may fail before the lease runs out.
_BEATS_PER_LEASE = 3

log = structlog.get_logger()


@contextmanager
def beating(deps: WorkerDeps, batch: Batch) -> Iterator[None]:
    """Extend the lease of a batch again and again during a block, which never waits for it."""
    beats = asyncio.create_task(run_beats(deps, batch))
    try:
        yield
    finally:
        beats.cancel()


async def run_beats(deps: WorkerDeps, batch: Batch) -> None:
    """Beat until cancelled, or until the batch is no longer ours."""
    period = deps.settings.lease / _BEATS_PER_LEASE
    is_ours = True
    while is_ours:
        await asyncio.sleep(period.total_seconds())
        is_ours = await beat(deps, batch)


async def beat(deps: WorkerDeps, batch: Batch) -> bool:
    """Extend the lease once; False where others have taken the batch over, or it is settled."""
    try:
        async with deps.database.connection() as connection:
            return await leases.extend_lease(connection, batch, duration=deps.settings.lease)
    except DatabaseUnavailable as error:
        log.warning(LogEvent.HEARTBEAT_FAILED, reason=str(error))
    except Exception:
        log.exception(LogEvent.HEARTBEAT_FAILED)
    return True
