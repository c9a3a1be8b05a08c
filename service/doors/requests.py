"""The HTTP door of release requests: hand one in, ask where it stands, read its timeline."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from aiohttp import web

from service.core.json_input import read_json
from service.deps import Deps
from service.doors import problems
from service.doors.auth import Caller
from service.doors.http import check_query, read_json_body, traceparent_of
from service.doors.keys import DEPS, INTAKE
from service.doors.parameters import (
    knows,
    preferred_wait,
    read_id,
    read_idempotency_key,
    read_page_size,
    read_whole_number,
    requested_wait,
)
from service.doors.problems import ProblemError
from service.doors.render import (
    REQUESTS_PATH,
    etag_of,
    event_resource,
    request_resource,
    to_json,
    view_of_accepted,
)
from service.flow import status
from service.flow.accept import Envelope, Refusal, accept
from service.flow.accept_group import Accepted, AcceptOutcome, Replayed
from service.flow.status import Patience
from service.gateways.store.reading import RequestView

_LAST_SEQ = 2**31 - 1


async def create(request: web.Request, caller: Caller) -> web.Response:
    """Accept a release request: 202 once it is durable."""
    check_query(request)
    idempotency_key = read_idempotency_key(request)
    raw = await read_json_body(request)
    envelope = Envelope(
        caller=caller.name,
        idempotency_key=idempotency_key,
        traceparent=traceparent_of(request),
        may_use=caller.may_use,
        parsed=read_json(raw),
        raw=raw,
    )
    outcome = await accept(request.app[DEPS], request.app[INTAKE], envelope)
    return await _render_outcome(request, caller, outcome)


async def _render_outcome(
    request: web.Request,
    caller: Caller,
    outcome: AcceptOutcome | Refusal,
) -> web.Response:
    match outcome:
        case Accepted():
            return await _render_accepted(request, caller, outcome)
        case Replayed(request_id=request_id):
            view = await _after_wait(request, caller, request_id)
            return _render_created(request, view, is_replay=True)
        case _:
            raise ProblemError(problems.of_refusal(outcome))


async def _render_accepted(request: web.Request, caller: Caller, accepted: Accepted) -> web.Response:
    if accepted.may_have_moved or preferred_wait(request) is not None:
        view = await _after_wait(request, caller, accepted.request.request_id)
    else:
        view = view_of_accepted(accepted)
    return _render_created(request, view, is_replay=False)


async def _after_wait(request: web.Request, caller: Caller, request_id: UUID) -> RequestView:
    deps, wait = request.app[DEPS], preferred_wait(request)
    if wait is not None:
        patience = _patience(request, wait)
        await status.wait_until_done(deps, request_id, visible=caller.visible, patience=patience)
    return await _find(deps, request_id, caller)


def _render_created(request: web.Request, view: RequestView, *, is_replay: bool) -> web.Response:
    headers = {"Location": f"{REQUESTS_PATH}/{view.request_id}"}
    wait = preferred_wait(request)
    is_answered = view.state.is_done and (is_replay or wait is not None)
    if wait is not None:
        headers["Preference-Applied"] = f"wait={int(wait.total_seconds())}"
    if is_replay:
        headers["Idempotent-Replayed"] = "true"
    if not view.state.is_done:
        headers["Retry-After"] = "1"
    return _json(request_resource(view), status=200 if is_answered else 202, headers=headers)


async def show(request: web.Request, caller: Caller) -> web.Response:
    """Return a release request; with ``wait``, at its next change or when the time is up."""
    check_query(request, "wait")
    request_id = read_id(request)
    deps = request.app[DEPS]
    view = await _find(deps, request_id, caller)
    body = to_json(request_resource(view))
    wait = requested_wait(request)
    has_news = "If-None-Match" in request.headers and not knows(request, etag_of(body))
    if wait is not None and not view.state.is_done and not has_news:
        patience = _patience(request, wait)
        await status.wait_for_change(
            deps, request_id, visible=caller.visible, patience=patience, since=view.version
        )
        view = await _find(deps, request_id, caller)
        body = to_json(request_resource(view))
    return _render_shown(request, view, body)


def _patience(request: web.Request, wait: timedelta) -> Patience:
    """Wait as long as the caller wants, and not for one that has gone: aiohttp takes its transport away."""
    return Patience(within=wait, is_there=lambda: request.transport is not None)


def _render_shown(request: web.Request, view: RequestView, body: bytes) -> web.Response:
    etag = etag_of(body)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if not view.state.is_done:
        headers["Retry-After"] = "1"
    if knows(request, etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers, content_type="application/json")


async def _find(deps: Deps, request_id: UUID, caller: Caller) -> RequestView:
    view = await status.find_request(deps, request_id, visible=caller.visible)
    if view is None:
        raise ProblemError(problems.not_found("release request"))
    return view


async def events(request: web.Request, caller: Caller) -> web.Response:
    """Return the timeline of a release request, oldest first."""
    check_query(request, "page_size", "page_token")
    size = read_page_size(request)
    after = read_whole_number(request, "page_token", default=0, highest=_LAST_SEQ)
    page = await status.find_events(
        request.app[DEPS], read_id(request), visible=caller.visible, after=after, limit=size + 1
    )
    if page is None:
        raise ProblemError(problems.not_found("release request"))
    shown = page[:size]
    next_token = str(shown[-1].seq) if len(page) > size else ""
    return _json({"events": [event_resource(event) for event in shown], "next_page_token": next_token})


def _json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=to_json(value), status=status, headers=headers, content_type="application/json")
