"""The page of what needs an operator: batches that nobody else can decide, by what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from aiohttp import web

from service.doors.console.evidence import Evidence
from service.doors.console.lists import read_list
from service.doors.console.visit import Visit
from service.gateways.store.batch_lists import ParkedBatch, list_parked


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A batch that waits for an operator, and the evidence of its last call."""

    parked: ParkedBatch
    evidence: Evidence | None

    @property
    def cause(self) -> tuple[str, str]:
        """The code of the error, and what the last look at the vendor's lists saw; empty where nobody looked."""
        code = (self.parked.batch.error or {}).get("code", "")
        return code, (self.evidence and self.evidence.last_saw) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Batches that wait for the same cause, those that wait longest first."""

    code: str
    saw: str
    entries: tuple[Entry, ...]


async def index(visit: Visit) -> web.StreamResponse:
    """Show what waits for an operator, cause by cause, those that wait longest first."""
    view = read_list(visit.request, ())
    page = view.page
    parked = await visit.deps.database.read(
        lambda connection: list_parked(
            connection, visible=visit.visible, behind=page.behind_moment, limit=page.limit
        )
    )
    shown, token = page.cut(parked, lambda one: (one.since.isoformat(), str(one.batch.batch_id)))
    return visit.render("attention.html", view=view, groups=group(shown), next_path=view.path_of_page(token))


def group(parked: Sequence[ParkedBatch]) -> list[Group]:
    """Put batches with the same cause together; the order within a cause stays."""
    entries = sorted(
        (Entry(parked=one, evidence=Evidence.read(one.evidence)) for one in parked),
        key=lambda entry: entry.cause,
    )
    return [
        Group(code=code, saw=saw, entries=tuple(some))
        for (code, saw), some in groupby(entries, key=lambda entry: entry.cause)
    ]
