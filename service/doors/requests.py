"""The HTTP door of release requests: hand one in, ask where it stands, read its timeline."""

from uuid import UUID

from aiohttp import web

from service.core.json_input import read_json
from service.core.submission import ReleaseRequestBody
from service.deps import Deps
from service.doors import problems
from service.doors.auth import Caller, Scope
from service.doors.event_stream import EVENT_STREAM, LAST_EVENT_ID, read_last_event_id, stream
from service.doors.http import read_json_body, traceparent_of, wants_stream
from service.doors.keys import DEPS, INTAKE
from service.doors.operation import Reply, operation
from service.doors.parameters import (
    AFTER_SEQ,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    LAST_SEQ,
    PAGE_SIZE,
    PREFER,
    WAIT,
    knows,
    preferred_wait,
    read_id,
    read_idempotency_key,
    read_page_size,
    read_whole_number,
    requested_wait,
)
from service.doors.problems import Problem, ProblemError
from service.doors.render import (
    accepted_resource,
    etag_of,
    event_resource,
    json_response,
    request_resource,
    to_json,
)
from service.doors.resources import EventPage, ReleaseRequest
from service.doors.waiting import check_again, patience_of
from service.flow import status
from service.flow.accept import Envelope, Refusal, accept
from service.flow.accept_group import Accepted, AcceptOutcome, Replayed
from service.gateways.store.reading import RequestView

_OF_CREATED = {
    "Location": "Where the release request is.",
    "Retry-After": "When to ask again, while it is not done.",
    "Preference-Applied": "The wait that was obeyed.",
    "Idempotent-Replayed": "`true` where the key had been used before with the same body.",
}


@operation(
    "Hand in a release request",
    body=ReleaseRequestBody,
    parameters=(IDEMPOTENCY_KEY, PREFER),
    replies={
        202: Reply(description="Accepted, and durable.", shape=ReleaseRequest, headers=_OF_CREATED),
        200: Reply(
            description="Done within the preferred wait, or the replay of a request that is done.",
            shape=ReleaseRequest,
            headers=_OF_CREATED,
        ),
    },
    problems=(400, 403, 409, 413, 415, 422, 429),
)
async def create(request: web.Request, caller: Caller) -> web.Response:
    """Accept a release request: 202 once it is durable."""
    idempotency_key = read_idempotency_key(request)
    raw = await read_json_body(request)
    envelope = Envelope(
        caller=caller.name,
        idempotency_key=idempotency_key,
        traceparent=traceparent_of(request),
        may_use=caller.may_use,
        may_apply_for=caller.may_apply_for,
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
            return _render_created(request, request_resource(view), is_replay=True)
        case _:
            raise ProblemError(problems.of_refusal(outcome))


async def _render_accepted(request: web.Request, caller: Caller, accepted: Accepted) -> web.Response:
    if accepted.may_have_moved or preferred_wait(request) is not None:
        resource = request_resource(await _after_wait(request, caller, accepted.request.request_id))
    else:
        place = accepted.request.submission.key.place
        resource = accepted_resource(accepted, is_paused=request.app[INTAKE].waker.windows.is_paused(place))
    return _render_created(request, resource, is_replay=False)


async def _after_wait(request: web.Request, caller: Caller, request_id: UUID) -> RequestView:
    deps, wait = request.app[DEPS], preferred_wait(request)
    if wait is not None:
        patience = patience_of(request, wait)
        await status.wait_until_done(deps, request_id, visible=caller.visible, patience=patience)
        await check_again(request, Scope.SUBMIT)
    return await find_view(deps, request_id, caller)


def _render_created(request: web.Request, resource: ReleaseRequest, *, is_replay: bool) -> web.Response:
    headers = {"Location": resource["links"]["self"]}
    wait = preferred_wait(request)
    is_answered = resource["done"] and (is_replay or wait is not None)
    if wait is not None:
        headers["Preference-Applied"] = f"wait={int(wait.total_seconds())}"
    if is_replay:
        headers["Idempotent-Replayed"] = "true"
    if not resource["done"]:
        headers["Retry-After"] = "1"
    return json_response(resource, status=200 if is_answered else 202, headers=headers)


@operation(
    "Ask where a release request stands",
    parameters=(WAIT, PREFER, IF_NONE_MATCH),
    replies={
        200: Reply(
            description="The release request.",
            shape=ReleaseRequest,
            headers={
                "ETag": "Names this representation.",
                "Retry-After": "When to ask again, while not done.",
            },
        ),
        304: Reply(description="Nothing has changed.", shape=None),
    },
    problems=(400, 404, 410),
)
async def show(request: web.Request, caller: Caller) -> web.Response:
    """Return a release request; with ``wait``, at its next change or when the time is up."""
    request_id = read_id(request)
    deps = request.app[DEPS]
    view = await find_view(deps, request_id, caller)
    body = to_json(request_resource(view))
    wait = requested_wait(request)
    has_news = "If-None-Match" in request.headers and not knows(request, etag_of(body))
    if wait is not None and not view.state.is_done and not has_news:
        patience = patience_of(request, wait)
        await status.wait_for_change(
            deps, request_id, visible=caller.visible, patience=patience, since=view.version
        )
        await check_again(request, Scope.READ)
        view = await find_view(deps, request_id, caller)
        body = to_json(request_resource(view))
    return _render_shown(request, view, body)


def _render_shown(request: web.Request, view: RequestView, body: bytes) -> web.Response:
    etag = etag_of(body)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if not view.state.is_done:
        headers["Retry-After"] = "1"
    if knows(request, etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers, content_type="application/json")


async def find_view(deps: Deps, request_id: UUID, caller: Caller) -> RequestView:
    """Return a request that the caller may see.

    Raises:
        ProblemError: there is none of this id.
    """
    view = await status.find_request(deps, request_id, visible=caller.visible)
    if view is None:
        raise ProblemError(no_request(deps, request_id))
    return view


def no_request(deps: Deps, request_id: UUID) -> Problem:
    """Say that there is no such request, or none any more."""
    return problems.missing("release request", request_id, kept_for=deps.settings.retention)


@operation(
    "Read the timeline of a release request",
    parameters=(PAGE_SIZE, AFTER_SEQ, LAST_EVENT_ID),
    replies={
        200: Reply(
            description="A page of the timeline, or a stream of its events.",
            shape=EventPage,
            stream_type=EVENT_STREAM,
        ),
        204: Reply(description="The request is done, and there is nothing to stream.", shape=None),
    },
    problems=(400, 404, 410),
)
async def events(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Return the timeline of a release request, oldest first.

    With `Accept: text/event-stream` it is sent as it grows, until the request is done; the id of an event is its
    `seq`. A caller that comes again with the id of the last one gets 204.
    """
    last_seen = read_last_event_id(request)
    if wants_stream(request):
        return await stream(request, caller, read_id(request), after=last_seen)
    request_id = read_id(request)
    size = read_page_size(request)
    after = read_whole_number(request, "page_token", default=0, highest=LAST_SEQ)
    page = await status.find_events(
        request.app[DEPS], request_id, visible=caller.visible, after=after, limit=size + 1
    )
    if page is None:
        raise ProblemError(no_request(request.app[DEPS], request_id))
    shown = page[:size]
    next_token = str(shown[-1].seq) if len(page) > size else ""
    return json_response(
        {"events": [event_resource(event) for event in shown], "next_page_token": next_token}
    )
