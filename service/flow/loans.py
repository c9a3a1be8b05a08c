"""Keeps batches lent to who looks into them for as long as the vendor's lists take to be read.

Takes: batches in doubt, or refused, that were lent to this worker.
Leaves: loans that end soon after the last beat.
If it dies here: the loans end within seconds, and somebody else looks.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import structlog

from service.core.errors import DatabaseUnavailable
from service.core.telemetry import LogEvent
from service.deps import WorkerDeps
from service.gateways.store import leases

#: A look goes on for longer; whoever is killed in the middle of one keeps nobody else from it for more than that.
LOAN = timedelta(seconds=6)
_BEATS_PER_LOAN = 3

log = structlog.get_logger()


@contextmanager
def keeping(deps: WorkerDeps, epochs: Mapping[UUID, int]) -> Iterator[None]:
    """Extend the loans of batches, by their ids, again and again during a block, which never waits for it."""
    beats = asyncio.create_task(_run_beats(deps, epochs))
    try:
        yield
    finally:
        beats.cancel()


async def _run_beats(deps: WorkerDeps, epochs: Mapping[UUID, int]) -> None:
    while True:
        await asyncio.sleep((LOAN / _BEATS_PER_LOAN).total_seconds())
        await _beat(deps, epochs)


async def _beat(deps: WorkerDeps, epochs: Mapping[UUID, int]) -> None:
    try:
        async with deps.database.connection() as connection:
            await leases.extend_loans(connection, epochs, loan=LOAN)
    except DatabaseUnavailable as error:
        log.warning(LogEvent.HEARTBEAT_FAILED, reason=str(error))
    except Exception:
        log.exception(LogEvent.HEARTBEAT_FAILED)
