"""Counts the requests that end by this process, beside the flow: the ids of what changed are all that it is told.

They are looked up together once a second, so a batch that ends waits for nothing.
"""

import asyncio
from collections.abc import Collection
from uuid import UUID

import structlog

from service.core.errors import DatabaseUnavailable
from service.core.telemetry import LogEvent
from service.gateways.metrics.process import Metrics
from service.gateways.store import gauges
from service.gateways.store.database import Database

_PERIOD_SECONDS = 1.0
_IDS_AT_ONCE = 5_000
#: While PostgreSQL is away; what comes beyond is not counted.
_MOST_NOTED = 100_000

log = structlog.get_logger()


class Endings:
    """What has changed since the last look, and what the last look has counted."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._changed: set[UUID] = set()
        self._counted: set[UUID] = set()

    def note(self, request_ids: Collection[UUID]) -> None:
        """Say that requests have changed; costs nothing and never fails."""
        if len(self._changed) < _MOST_NOTED:
            self._changed.update(request_ids)

    async def run(self) -> None:
        """Count once a second until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            try:
                await self.count()
            except DatabaseUnavailable as error:
                log.debug(LogEvent.FIGURES_LOST, reason=str(error))

    async def count(self) -> None:
        """Count those that have ended. One that ended during the last look is told of once more: it counts once.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer; what was noted is not counted.
        """
        noted, self._changed = list(self._changed), set()
        before, self._counted = self._counted, set()
        for start in range(0, len(noted), _IDS_AT_ONCE):
            await self._count_some(noted[start : start + _IDS_AT_ONCE], before)

    async def _count_some(self, request_ids: list[UUID], before: set[UUID]) -> None:
        ended = await self._database.read(lambda connection: gauges.find_ended(connection, request_ids))
        for request in ended:
            if request.request_id not in before:
                self._metrics.count_ended(request.state, seconds=request.seconds)
                self._counted.add(request.request_id)
