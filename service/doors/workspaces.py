"""The HTTP door of workspaces: how they stand, and what operators settle for them."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

from aiohttp import web
from pydantic import ConfigDict, Field

from service.core.periods import LONGEST
from service.core.place import Place
from service.core.planning import VENDOR_MAX_ITEMS
from service.core.workspaces import OwnSettings
from service.deps import Deps
from service.doors import problems
from service.doors.auth import Caller
from service.doors.bodies import ActionBody, read_body, read_optional_body
from service.doors.http import HTTP_REQUEST_ID
from service.doors.keys import DEPS, INTAKE
from service.doors.operation import Reply, operation
from service.doors.paging import read_page
from service.doors.parameters import PAGE_SIZE, PAGE_TOKEN
from service.doors.problems import ProblemError
from service.doors.render import json_response
from service.doors.workspace_resources import WorkspacePage, WorkspaceResource, workspace_resource
from service.flow import workspaces
from service.flow.workspaces import Order
from service.gateways.store.workspace_reading import WorkspaceView

_REPLIES = {200: Reply(description="The workspace as it stands now.", shape=WorkspaceResource)}
_PROBLEMS = (400, 403, 404, 413, 415, 422)

WindowSeconds = Annotated[float, Field(ge=0, le=LONGEST.total_seconds(), allow_inf_nan=False)]


class SettingsBody(ActionBody):
    """The settings to change: null is back to the deployment's, and what is not given stays."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rate": 2, "concurrency": None, "reason": "a slow workspace"}]}
    )

    max_items: Annotated[int, Field(ge=1, le=VENDOR_MAX_ITEMS)] | None = Field(
        None, description="Items of a full batch."
    )
    quiet_seconds: WindowSeconds | None = Field(
        None, description="A window closes when nothing new came for so long."
    )
    linger_seconds: WindowSeconds | None = Field(
        None, description="A window closes when the oldest item has waited for so long."
    )
    rate: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] | None = Field(
        None, description="Calls a second; 0 is no limit of its own."
    )
    concurrency: Annotated[int, Field(ge=0, le=1_000)] | None = Field(
        None, description="Calls at once; 0 is no limit of its own."
    )

    def changed(self, own: OwnSettings) -> OwnSettings:
        """Return the settings with the given members changed."""
        wanted = OwnSettings(
            max_items=self.max_items,
            quiet=_period(self.quiet_seconds),
            linger=_period(self.linger_seconds),
            rate=self.rate,
            concurrency=self.concurrency,
        )
        given = (name.removesuffix("_seconds") for name in self.model_fields_set - {"reason"})
        return replace(own, **{name: getattr(wanted, name) for name in given})


def _period(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


@operation(
    "List workspaces",
    parameters=(PAGE_SIZE, PAGE_TOKEN),
    replies={200: Reply(description="A page of them, by project and name.", shape=WorkspacePage)},
    problems=(400,),
)
async def index(request: web.Request, caller: Caller) -> web.Response:
    """Return the workspaces that have release requests, or of which something is settled, and how they stand."""
    page = read_page(request, "workspaces")
    deps = request.app[DEPS]
    views = await workspaces.list_workspaces(
        deps, visible=caller.visible, after=page.behind_place, limit=page.limit
    )
    shown, token = page.cut(views, _position_of)
    rows = [workspace_resource(view, deps.settings) for view in shown]
    return json_response({"workspaces": rows, "next_page_token": token})


def _position_of(view: WorkspaceView) -> tuple[str, ...]:
    return (view.place.project_id, view.place.workspace)


@operation("Read a workspace", replies=_REPLIES, problems=(404,))
async def show(request: web.Request, caller: Caller) -> web.Response:
    """Return how a workspace stands; one that nobody has used yet is as the deployment has it."""
    place = read_place(request, caller)
    return _render(request, await workspaces.show(request.app[DEPS], place))


@operation("Change the settings of a workspace", body=SettingsBody, replies=_REPLIES, problems=_PROBLEMS)
async def settings(request: web.Request, caller: Caller) -> web.Response:
    """Change some of what a workspace has of its own; in force on all workers with their next look."""
    place = read_place(request, caller)
    body = await read_body(request, SettingsBody)
    order = order_of(request, caller, place, body)
    view = await workspaces.change_settings(request.app[DEPS], order, body.changed)
    await request.app[INTAKE].waker.windows.read_anew()
    return _render(request, view)


@operation("Pause a workspace", body=ActionBody, replies=_REPLIES, problems=_PROBLEMS)
async def pause(request: web.Request, caller: Caller) -> web.Response:
    """Send nothing of a workspace until it is resumed: requests are accepted and wait, calls under way end."""
    return await _act(request, caller, workspaces.pause)


@operation("Resume a workspace", body=ActionBody, replies=_REPLIES, problems=_PROBLEMS)
async def resume(request: web.Request, caller: Caller) -> web.Response:
    """End the pause of a workspace; what waits leaves in order, at half the rate in the first second."""
    return await _act(request, caller, workspaces.resume)


@operation("Flush a workspace", body=ActionBody, replies=_REPLIES, problems=_PROBLEMS)
async def flush(request: web.Request, caller: Caller) -> web.Response:
    """Close the windows over all that is due in a workspace at this moment; a pause and the limits stay."""
    return await _act(request, caller, workspaces.flush)


async def _act(
    request: web.Request, caller: Caller, act: Callable[[Deps, Order], Awaitable[WorkspaceView | None]]
) -> web.Response:
    place = read_place(request, caller)
    body = await read_optional_body(request, ActionBody)
    view = await act(request.app[DEPS], order_of(request, caller, place, body))
    await request.app[INTAKE].waker.windows.read_anew()
    return _render(request, view)


def read_place(request: web.Request, caller: Caller) -> Place:
    """Return the workspace of the path.

    Raises:
        ProblemError: it is none, or none that the caller may use.
    """
    place = Place.read(request.match_info["project_id"], request.match_info["workspace"])
    if place is None or not caller.may_use(place.project_id, place.workspace):
        raise ProblemError(problems.not_found("workspace"))
    return place


def order_of(request: web.Request, caller: Caller, place: Place, body: ActionBody) -> Order:
    """Return what a caller wants of a workspace, without saying what."""
    return Order(
        place=place,
        visible=caller.visible,
        actor=caller.actor,
        reason=body.reason,
        http_request_id=request[HTTP_REQUEST_ID],
    )


def _render(request: web.Request, view: WorkspaceView | None) -> web.Response:
    if view is None:
        raise ProblemError(problems.not_found("workspace"))
    return json_response(workspace_resource(view, request.app[DEPS].settings))
