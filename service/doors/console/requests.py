"""The pages of release requests: a list that its address describes, one request with its timeline, and what to do."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from urllib.parse import urlencode
from uuid import UUID

from aiohttp import web

from service.core.model import Event, RequestState
from service.core.request_filter import FILTER_NAMES, LABEL_PREFIX, BadFilter, RequestFilter, read_filter
from service.deps import Deps
from service.doors.console.lists import ListView, path_of, read_list
from service.doors.console.visit import Visit
from service.doors.http import HTTP_REQUEST_ID
from service.doors.keys import INTAKE
from service.doors.parameters import read_id
from service.doors.problems import ProblemError
from service.doors.render import request_resource, to_json
from service.doors.request_actions import problem_of
from service.doors.requests import find_view, no_request
from service.flow import status
from service.flow.acting import Actor, CancelOutcome, Done, RetryOutcome, cancel_request, retry_request
from service.flow.intake import Intake
from service.gateways.store.reading import RequestView
from service.gateways.store.request_lists import ListPosition, RequestRows, list_requests

_LABEL_FIELD = "label"
FIELDS = (*FILTER_NAMES, _LABEL_FIELD)
_EVENTS_SHOWN = 200
_LONGEST_REASON = 1_000
_CANCELLABLE = frozenset({RequestState.ACCEPTED, RequestState.BATCHED})
_RETRYABLE = frozenset({RequestState.FAILED, RequestState.REJECTED})
Act = Callable[[Deps, Intake, UUID, Actor], Awaitable[CancelOutcome | RetryOutcome]]


async def index(visit: Visit) -> web.StreamResponse:
    """Show the requests that match the filter, the newest first; whoever looks for an id is sent to it."""
    sought = visit.request.query.get("find", "").strip()
    if sought:
        return visit.go_to(await _page_of(visit, sought))
    view = read_list(visit.request, FIELDS)
    wanted = read_fields(view.filters)
    if isinstance(wanted, BadFilter):
        return _render_list(visit, view, flaw=wanted.detail)
    rows = await _read(visit, view, wanted)
    return _render_list(visit, view, rows=rows.requests, next_path=_next_path(view, rows))


def _render_list(
    visit: Visit,
    view: ListView,
    *,
    rows: Sequence[RequestView] = (),
    next_path: str = "",
    flaw: str | None = None,
) -> web.Response:
    return visit.render(
        "requests.html",
        status=200 if flaw is None else 400,
        view=view,
        rows=rows,
        next_path=next_path,
        flaw=flaw,
        states=[state.value for state in RequestState],
        filter_query=urlencode(view.filters),
        wait_of=status.what_it_waits_for,
    )


async def _page_of(visit: Visit, sought: str) -> str:
    """Return where a request or a batch of this id is shown, or the requests that name such an item."""
    try:
        sought_id = UUID(sought)
    except ValueError:
        return path_of("/requests", {"item": sought})
    batch = await status.find_batch(visit.deps, sought_id, visible=visit.visible)
    return f"/requests/{sought_id}" if batch is None else f"/batches/{sought_id}"


def read_fields(fields: Mapping[str, str]) -> RequestFilter | BadFilter:
    """Read a filter as the form has it."""
    return read_filter(members_of(fields))


def members_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return a filter as the API has it; in the form a label is one field, ``name=value``."""
    members = dict(fields)
    label = members.pop(_LABEL_FIELD, None)
    if label is not None:
        name, _, value = label.partition("=")
        members[f"{LABEL_PREFIX}{name.strip()}"] = value.strip()
    return members


async def _read(visit: Visit, view: ListView, wanted: RequestFilter) -> RequestRows:
    behind = view.page.behind_moment
    position = None if behind is None else ListPosition(created_at=behind[0], request_id=behind[1])
    return await visit.deps.database.read_one_moment(
        lambda connection: list_requests(
            connection, wanted, visible=visit.visible, behind=position, limit=view.page.size
        )
    )


def _next_path(view: ListView, rows: RequestRows) -> str:
    if not rows.has_more:
        return ""
    last = rows.last
    return view.path_of_page(view.page.token_behind(last.created_at.isoformat(), str(last.request_id)))


async def show(visit: Visit) -> web.StreamResponse:
    """Show one request: how it stands, its items, and what has happened to it."""
    request_id = read_id(visit.request, what="release request")
    found = await find_view(visit.deps, request_id, visit.known_caller)
    events = await status.find_events(
        visit.deps, request_id, visible=visit.visible, after=0, limit=_EVENTS_SHOWN
    )
    return visit.render(
        "request.html",
        one=found,
        wait=status.what_it_waits_for(found),
        steps=_steps(events or ()),
        batches=sorted({item.batch_id for item in found.items if item.batch_id is not None}),
        may_cancel=found.state in _CANCELLABLE,
        may_retry=found.state in _RETRYABLE,
        as_json=json.dumps(json.loads(to_json(request_resource(found))), indent=2, ensure_ascii=False),
        as_curl=_as_curl(visit, request_id),
    )


def _steps(events: Sequence[Event]) -> list[tuple[Event, float | None]]:
    """Return the events, each with the seconds since the one before."""
    spans = [None, *((later.at - earlier.at).total_seconds() for earlier, later in pairwise(events))]
    return list(zip(events, spans, strict=False))


def _as_curl(visit: Visit, request_id: UUID) -> str:
    url = visit.request.url.origin().join(
        visit.request.rel_url.with_path(f"/v1/release-requests/{request_id}")
    )
    return f'curl -H "Authorization: Bearer $RELEASE_API_KEY" {url}'


async def cancel(visit: Visit) -> web.StreamResponse:
    """Cancel a request that no call was made for."""
    return await _act(visit, cancel_request, notice="cancelled")


async def retry(visit: Visit) -> web.StreamResponse:
    """Have a failed or rejected request tried again."""
    return await _act(visit, retry_request, notice="retried")


async def _act(visit: Visit, act: Act, *, notice: str) -> web.StreamResponse:
    request_id = read_id(visit.request, what="release request")
    fields = await visit.read_form()
    outcome = await act(
        visit.deps, visit.request.app[INTAKE], request_id, actor_of(visit, fields.get("reason", ""))
    )
    if not isinstance(outcome, Done):
        raise ProblemError(problem_of(outcome, no_request(visit.deps, request_id)))
    return visit.go_to(f"/requests/{request_id}", notice=notice)


def actor_of(visit: Visit, reason: str) -> Actor:
    """Return who acts, and why."""
    caller = visit.known_caller
    return Actor(
        name=caller.actor,
        visible=caller.visible,
        owner=caller.owner,
        reason=reason.strip()[:_LONGEST_REASON] or None,
        http_request_id=visit.request[HTTP_REQUEST_ID],
        may_apply_for=caller.may_apply_for,
    )
