"""The pages of batches: a list, and one batch with every call that was made for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web

from service.core.model import BatchState
from service.doors.batches import no_batch
from service.doors.console.evidence import Evidence, pretty_json
from service.doors.console.lists import ListView, read_list
from service.doors.console.visit import Visit
from service.doors.console.wire import call_as_text
from service.doors.parameters import read_id
from service.doors.problems import ProblemError
from service.doors.render import batch_resource
from service.gateways.store import batch_family, batch_lists, batch_reading
from service.gateways.store.batch_family import Relative
from service.gateways.store.batch_lists import BatchFilter
from service.gateways.store.batch_reading import BatchView
from service.gateways.store.database import Connection

_FIELDS = ("state", "project_id", "workspace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A batch, and those that it was parted from and into."""

    batch: BatchView
    parent: Relative | None
    parts: tuple[Relative, ...]
    #: What it was made of, as far as it is still known.
    pending_item_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A decision that was not written: what was filled in, and what is wrong with it."""

    status: int
    fields: Mapping[str, str]
    flaws: tuple[str, ...]


async def index(visit: Visit) -> web.StreamResponse:
    """Show the batches that match the filter, the newest first."""
    view = read_list(visit.request, _FIELDS)
    try:
        wanted = _filter_of(view.filters)
    except ValueError:
        return _render_list(visit, view, flaw=f"Expected state to be one of {', '.join(BatchState)}.")
    rows = await visit.deps.database.read(
        lambda connection: batch_lists.list_batches(
            connection, wanted, visible=visit.visible, before=view.page.behind_id, limit=view.page.limit
        )
    )
    return _render_list(visit, view, rows=rows)


def _filter_of(fields: Mapping[str, str]) -> BatchFilter:
    state = fields.get("state")
    return BatchFilter(
        project_id=fields.get("project_id"),
        workspace=fields.get("workspace"),
        state=None if state is None else BatchState(state),
    )


def _render_list(
    visit: Visit, view: ListView, *, rows: Sequence[BatchView] = (), flaw: str | None = None
) -> web.Response:
    shown, token = view.page.cut(rows, lambda batch: (str(batch.batch_id),))
    return visit.render(
        "batches.html",
        status=200 if flaw is None else 400,
        view=view,
        rows=shown,
        next_path=view.path_of_page(token),
        flaw=flaw,
        states=[state.value for state in BatchState],
    )


async def show(visit: Visit) -> web.StreamResponse:
    """Show one batch: how it stands, its items, its calls, and what is known of them."""
    return await show_batch(visit, read_id(visit.request, what="batch"))


async def show_batch(visit: Visit, batch_id: UUID, *, refused: Refused | None = None) -> web.Response:
    """Show a batch, and what is wrong with a decision about it.

    Raises:
        ProblemError: there is none of this id that may be seen.
    """
    family = await visit.deps.database.read_one_moment(
        lambda connection: _read_family(connection, batch_id, visible=visit.visible)
    )
    if family is None:
        raise ProblemError(no_batch(visit.deps, batch_id))
    batch = family.batch
    return visit.render(
        "batch.html",
        status=200 if refused is None else refused.status,
        path=f"/batches/{batch_id}",
        here=f"/batches/{batch_id}",
        one=batch,
        family=family,
        attempts=[(attempt, Evidence.read(attempt.evidence)) for attempt in batch.attempts],
        call=call_as_text(batch, family.pending_item_ids, vendor_auth=visit.deps.settings.vendor_auth),
        as_json=pretty_json(batch_resource(batch)),
        refused=refused,
    )


async def _read_family(connection: Connection, batch_id: UUID, *, visible: tuple[str, ...]) -> Family | None:
    batch = await batch_reading.find_batch(connection, batch_id, visible=visible)
    if batch is None:
        return None
    into = {
        part
        for attempt in batch.attempts
        if (evidence := Evidence.read(attempt.evidence)) is not None
        for part in evidence.into
    }
    wanted = into | ({batch.parent_id} if batch.parent_id is not None else set())
    relatives = await batch_family.find_relatives(connection, list(wanted)) if wanted else []
    return Family(
        batch=batch,
        parent=next((one for one in relatives if one.batch_id == batch.parent_id), None),
        parts=tuple(one for one in relatives if one.batch_id in into),
        pending_item_ids=tuple(await batch_family.items_of_family(connection, batch_id)),
    )
