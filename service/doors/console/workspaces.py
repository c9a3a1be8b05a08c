"""The pages of workspaces: how they stand, and what operators settle for them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from service.core.config import Settings
from service.core.place import Place
from service.core.submission import Invalid
from service.core.workspaces import NOTHING_OWN, OwnSettings
from service.deps import Deps
from service.doors import problems
from service.doors.bodies import ActionBody
from service.doors.console.forms import model_of
from service.doors.console.lists import read_list
from service.doors.console.visit import Visit
from service.doors.keys import INTAKE
from service.doors.problems import ProblemError
from service.doors.workspaces import SettingsBody, order_of, read_place
from service.flow import workspaces
from service.flow.workspaces import Order
from service.gateways.store.batch_lists import BatchFilter, list_batches
from service.gateways.store.workspace_reading import WorkspaceView

NAMES = ("max_items", "quiet_seconds", "linger_seconds", "rate", "concurrency")
_NAME = "name"
_LATEST_BATCHES = 5
Act = Callable[[Deps, Order], Awaitable[WorkspaceView | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of a workspace, as it is and as the deployment has it."""

    name: str
    value: float
    default: float
    is_own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A workspace and its settings."""

    view: WorkspaceView
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flawed:
    """Settings that were not kept: what was filled in, and what is wrong with it, by the names of the fields."""

    fields: Mapping[str, str] = field(default_factory=dict)
    flaws: Mapping[str, str] = field(default_factory=dict)


_NOTHING_WRONG = Flawed()


async def index(visit: Visit) -> web.StreamResponse:
    """Show the workspaces with this text in their names, by project and name."""
    view = read_list(visit.request, (_NAME,))
    found = await workspaces.list_workspaces(
        visit.deps,
        visible=visit.visible,
        after=view.page.behind_place,
        limit=view.page.limit,
        part=view.filters.get(_NAME, ""),
    )
    shown, token = view.page.cut(found, lambda one: (one.place.project_id, one.place.workspace))
    return visit.render(
        "workspaces.html",
        view=view,
        names=NAMES,
        rows=[_row(one, visit.deps.settings) for one in shown],
        next_path=view.path_of_page(token),
    )


def _row(view: WorkspaceView, settings: Settings) -> Row:
    own = view.governance.own
    used, default = own.filled(settings), NOTHING_OWN.filled(settings)
    return Row(
        view=view,
        settings=tuple(
            Setting(
                name=name,
                value=getattr(used, name),
                default=getattr(default, name),
                is_own=_is_own(own, name),
            )
            for name in NAMES
        ),
    )


def _is_own(own: OwnSettings, name: str) -> bool:
    return getattr(own, name.removesuffix("_seconds")) is not None


async def show(visit: Visit) -> web.StreamResponse:
    """Show one workspace, its settings, and its latest batches."""
    return await _show(visit, read_place(visit.request, visit.known_caller))


async def _show(visit: Visit, place: Place, *, wrong: Flawed = _NOTHING_WRONG) -> web.Response:
    wanted = BatchFilter(project_id=place.project_id, workspace=place.workspace)
    batches = await visit.deps.database.read(
        lambda connection: list_batches(
            connection, wanted, visible=visit.visible, before=None, limit=_LATEST_BATCHES
        )
    )
    path = path_of(place)
    return visit.render(
        "workspace.html",
        status=422 if wrong.flaws else 200,
        path=path,
        here=path,
        place=place,
        row=_row(await workspaces.show(visit.deps, place), visit.deps.settings),
        batches=batches,
        wrong=wrong,
    )


async def change_settings(visit: Visit) -> web.StreamResponse:
    """Keep the settings of a workspace; those that are left empty are the deployment's again."""
    place = read_place(visit.request, visit.known_caller)
    fields = await visit.read_form()
    numbers = {name: _number_in(fields.get(name, "").strip()) for name in NAMES}
    body = model_of({"reason": fields.get("reason", ""), **numbers}, SettingsBody)
    if isinstance(body, Invalid):
        flaws = {error.pointer.lstrip("/"): error.detail for error in body.errors}
        return await _show(visit, place, wrong=Flawed(fields=fields, flaws=flaws))
    order = order_of(visit.request, visit.known_caller, place, body)
    view = await workspaces.change_settings(visit.deps, order, body.changed)
    await visit.request.app[INTAKE].waker.windows.read_anew()
    return _go_back(visit, view, notice="settings_kept")


def _number_in(text: str) -> float | str | None:
    """Return the number that was filled in; None where nothing was, and the text where it is no number."""
    if not text:
        return None
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


async def pause(visit: Visit) -> web.StreamResponse:
    """Send nothing of a workspace until it is resumed."""
    return await _act(visit, workspaces.pause, notice="paused")


async def resume(visit: Visit) -> web.StreamResponse:
    """End a pause."""
    return await _act(visit, workspaces.resume, notice="resumed")


async def flush(visit: Visit) -> web.StreamResponse:
    """Close the windows over all that is due."""
    return await _act(visit, workspaces.flush, notice="flushed")


async def _act(visit: Visit, act: Act, *, notice: str) -> web.StreamResponse:
    place = read_place(visit.request, visit.known_caller)
    body = model_of(await visit.read_form(), ActionBody)
    if isinstance(body, Invalid):
        raise ProblemError(problems.invalid_request(body))
    view = await act(visit.deps, order_of(visit.request, visit.known_caller, place, body))
    await visit.request.app[INTAKE].waker.windows.read_anew()
    return _go_back(visit, view, notice=notice)


def _go_back(visit: Visit, view: WorkspaceView | None, *, notice: str) -> web.Response:
    if view is None:
        raise ProblemError(problems.not_found("workspace"))
    return visit.go_to(path_of(view.place), notice=notice)


def path_of(place: Place) -> str:
    """Return the address of the page of a workspace."""
    return f"/workspaces/{place.project_id}/{place.workspace}"
