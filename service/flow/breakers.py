"""Keeps the changes of breakers: in the log for operators, in Postgres for a limiter that loses its memory.

Takes: breakers that opened or closed in the limiter.
Leaves: a log line and a row each.
If it dies here: the limiter has decided all the same; only what a new Redis is told of it is older.
"""

from collections.abc import Sequence

import structlog

from service.core.breakers import Breaker
from service.core.errors import DatabaseUnavailable, QueueUnavailable
from service.core.telemetry import LogEvent
from service.deps import Deps, WorkerDeps
from service.gateways.limits import Asking
from service.gateways.store import breakers as store

log = structlog.get_logger()


async def keep_breakers(deps: Deps, changed: Sequence[Breaker], *, words: str | None) -> None:
    """Log and write how breakers stand after a change; ``words`` are what the vendor said last."""
    if not changed:
        return
    for breaker in changed:
        _log(breaker, words)
    try:
        async with deps.database.connection() as connection:
            for breaker in changed:
                await store.keep_breaker(connection, breaker)
    except DatabaseUnavailable as error:
        log.warning(LogEvent.BREAKER_LOST, reason=str(error))


async def vouch_for_vendor(deps: WorkerDeps, asking: Asking) -> None:
    """Close the breakers of a workspace in which a call in doubt is found to have worked."""
    try:
        changed = await deps.permits.vouch(asking)
    except QueueUnavailable as error:
        log.warning(LogEvent.QUEUE_LOST, reason=str(error))
    else:
        await keep_breakers(deps, changed, words=None)


def _log(breaker: Breaker, words: str | None) -> None:
    fields = {
        "scope": breaker.workspace or "credential",
        "cause": breaker.reason.value,
        "openings": breaker.openings,
    }
    if breaker.until is None:
        log.info(LogEvent.BREAKER_CLOSED, **fields)
    else:
        log.error(
            LogEvent.BREAKER_OPENED, **fields, reason=words, pause_seconds=breaker.pause.total_seconds()
        )
