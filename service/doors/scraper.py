"""Writes the figures of this process and of the whole, once for all who ask at the same moment.

Anybody may ask, and writing takes milliseconds in which the event loop does nothing else.
"""

from functools import partial

from service.deps import Deps
from service.doors.checks import NO_ANSWER, check_postgres, in_time
from service.flow.figures import Figures
from service.flow.flights import Flights, Keeping
from service.gateways.metrics.exposition import Form, Scrape, expose

_KEPT_SECONDS = 0.1


class Scraper:
    """Answers the scrapes of one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._figures = Figures(deps)
        self._written = Flights[Form, Scrape](
            Keeping(seconds=_KEPT_SECONDS, most=len(Form), is_kept=lambda _written: True)
        )

    async def scrape(self, form: Form) -> Scrape:
        """Return all figures as they are, or were a tenth of a second ago."""
        return await self._written.share(form, partial(self._write, form))

    async def _write(self, form: Form) -> Scrape:
        deps = self._deps
        answer = await in_time(check_postgres(deps), otherwise=NO_ANSWER)
        whole = await self._figures.read(is_database_up=answer != NO_ANSWER)
        used, idle, limit = deps.database.connections
        deps.metrics.show_process(callers_waiting=deps.changes.waiting, used=used, idle=idle, limit=limit)
        return expose(deps.metrics, whole, form=form)
