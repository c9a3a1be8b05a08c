"""The HTTP door of lists of release requests: those that match a filter, the newest first."""

from aiohttp import web

from service.core.request_filter import FILTER_NAMES, LABEL_PREFIX, BadFilter, RequestFilter, read_filter
from service.doors import problems
from service.doors.auth import Caller
from service.doors.keys import DEPS
from service.doors.operation import Parameter, Reply, operation
from service.doors.paging import Page, read_page
from service.doors.parameters import PAGE_SIZE, PAGE_TOKEN
from service.doors.problems import ProblemError
from service.doors.render import json_response, request_resource
from service.doors.resources import ReleaseRequestPage
from service.gateways.store.request_lists import ListPosition, list_requests

_DESCRIPTIONS = {
    "project_id": "Of this project.",
    "workspace": "Of this workspace.",
    "state": "In this state.",
    "error_code": "With this `error.code`, or this code of the vendor's.",
    "item": "That name this pending item.",
    "idempotency_key": "With this idempotency key, of any caller.",
    "created_after": "Created at this time or later (RFC 3339).",
    "created_before": "Created before this time (RFC 3339).",
}
_FILTERS = tuple(
    Parameter(
        name=name,
        place="query",
        description=_DESCRIPTIONS[name],
        schema={"type": "string", "minLength": 1, "maxLength": 255 if name == "idempotency_key" else 64},
    )
    for name in FILTER_NAMES
)
_LABEL = Parameter(
    name=f"{LABEL_PREFIX}*",
    place="query",
    description="With this value of the label whose name stands for `*`.",
    schema={"type": "string", "minLength": 1, "maxLength": 255},
)


@operation(
    "List release requests",
    parameters=(*_FILTERS, _LABEL, PAGE_SIZE, PAGE_TOKEN),
    replies={200: Reply(description="A page of them, newest first.", shape=ReleaseRequestPage)},
    problems=(400,),
)
async def show(request: web.Request, caller: Caller) -> web.Response:
    """Return the release requests that match all filters, newest first.

    Each request that was there when the first page was read is on exactly one page, whatever comes in meanwhile.
    A page may be shorter than asked for where its requests have many items; the end is an empty token.
    """
    wanted, page = _read_filter(request), read_page(request, "release-requests")
    behind = _position_in(page)
    rows = await request.app[DEPS].database.read_one_moment(
        lambda connection: list_requests(
            connection, wanted, visible=caller.visible, behind=behind, limit=page.size
        )
    )
    token = ""
    if rows.has_more:
        token = page.token_behind(rows.last.created_at.isoformat(), str(rows.last.request_id))
    shown = [request_resource(view) for view in rows.requests]
    return json_response({"release_requests": shown, "next_page_token": token})


def _read_filter(request: web.Request) -> RequestFilter:
    members = {
        name: value for name, value in request.query.items() if name not in ("page_size", "page_token")
    }
    wanted = read_filter(members)
    if isinstance(wanted, BadFilter):
        raise ProblemError(problems.invalid_parameter(wanted.detail))
    return wanted


def _position_in(page: Page) -> ListPosition | None:
    behind = page.behind_moment
    return None if behind is None else ListPosition(created_at=behind[0], request_id=behind[1])
