"""Wakes those who wait for a request, after the commit that changed it; a lost notice costs them a second."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from service.core.errors import DatabaseUnavailable
from service.core.telemetry import LogEvent
from service.deps import Deps
from service.gateways.store import changes

log = structlog.get_logger()


async def announce(deps: Deps, request_ids: Sequence[UUID]) -> None:
    """Wake the waiters of these requests in all processes."""
    if not request_ids:
        return
    try:
        async with deps.database.connection() as connection:
            await changes.announce(connection, request_ids)
    except DatabaseUnavailable as error:
        log.warning(LogEvent.CHANGES_LOST, reason=str(error))
