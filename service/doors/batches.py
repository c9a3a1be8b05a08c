"""The HTTP door of batches: what went to the vendor together, each call that was made for it, and decisions."""

from typing import assert_never
from uuid import UUID

from aiohttp import web

from service.core.ids import new_id
from service.core.model import BatchState
from service.core.resolution import Resolution, ResolutionBody
from service.core.submission import Invalid
from service.deps import Deps
from service.doors import action_problems, problems
from service.doors.auth import Caller
from service.doors.bodies import read_body
from service.doors.http import HTTP_REQUEST_ID
from service.doors.keys import DEPS
from service.doors.operation import Parameter, Reply, operation
from service.doors.paging import read_page
from service.doors.parameters import PAGE_SIZE, PAGE_TOKEN, read_id
from service.doors.problems import Problem, ProblemError
from service.doors.render import batch_resource, batch_row, json_response
from service.doors.resources import BatchPage, BatchResource
from service.flow import status
from service.flow.resolve import NoSuchBatch, NotResolvable, Order, Resolved, resolve
from service.gateways.store.batch_lists import BatchFilter, list_batches
from service.gateways.store.batch_reading import BatchView

_PROJECT = Parameter(
    name="project_id",
    place="query",
    description="Only batches of this project.",
    schema={"type": "string", "maxLength": 64},
)
_WORKSPACE = Parameter(
    name="workspace",
    place="query",
    description="Only batches of this workspace.",
    schema={"type": "string", "maxLength": 64},
)
_STATE = Parameter(
    name="state",
    place="query",
    description="Only batches in this state.",
    schema={"type": "string", "enum": [state.value for state in BatchState]},
)


@operation(
    "List batches",
    parameters=(_PROJECT, _WORKSPACE, _STATE, PAGE_SIZE, PAGE_TOKEN),
    replies={200: Reply(description="A page of batches, newest first.", shape=BatchPage)},
    problems=(400,),
)
async def listed(request: web.Request, caller: Caller) -> web.Response:
    """Return batches without their members and attempts, newest first."""
    page = read_page(request, "batches")
    wanted = BatchFilter(
        project_id=request.query.get("project_id"),
        workspace=request.query.get("workspace"),
        state=_read_state(request),
    )
    before = page.behind_id
    batches = await request.app[DEPS].database.read(
        lambda connection: list_batches(
            connection, wanted, visible=caller.visible, before=before, limit=page.limit
        )
    )
    shown, token = page.cut(batches, _position_of)
    return json_response({"batches": [batch_row(batch) for batch in shown], "next_page_token": token})


def _read_state(request: web.Request) -> BatchState | None:
    given = request.query.get("state")
    if given is None:
        return None
    try:
        return BatchState(given)
    except ValueError:
        expected = ", ".join(BatchState)
        problem = problems.invalid_parameter(f"Expected state to be one of {expected}; given {given[:40]!r}.")
        raise ProblemError(problem) from None


def _position_of(batch: BatchView) -> tuple[str, ...]:
    return (str(batch.batch_id),)


@operation(
    "Read a batch with its members and attempts",
    replies={200: Reply(description="The batch.", shape=BatchResource)},
    problems=(404, 410),
)
async def show(request: web.Request, caller: Caller) -> web.Response:
    """Return a batch with its members and attempts."""
    return await _show(request, caller)


async def _show(request: web.Request, caller: Caller) -> web.Response:
    batch_id = read_id(request)
    batch = await status.find_batch(request.app[DEPS], batch_id, visible=caller.visible)
    if batch is None:
        raise ProblemError(no_batch(request.app[DEPS], batch_id))
    return json_response(batch_resource(batch))


@operation(
    "Decide about a batch that needs attention",
    body=ResolutionBody,
    replies={200: Reply(description="The decision is written; the batch.", shape=BatchResource)},
    problems=(400, 404, 409, 410, 413, 415, 422),
)
async def decide(request: web.Request, caller: Caller) -> web.Response:
    """Write an operator's decision: that the package was made, that the call is made again, or that it is not.

    `resend` may make a second package, should the vendor have made the first after all.
    """
    batch_id = read_id(request)
    body = await read_body(request, ResolutionBody)
    order = Order(
        batch_id=batch_id,
        resolution=resolution_of(body, caller),
        visible=caller.visible,
        http_request_id=request[HTTP_REQUEST_ID],
    )
    match await resolve(request.app[DEPS], order):
        case Resolved():
            return await _show(request, caller)
        case NoSuchBatch():
            raise ProblemError(no_batch(request.app[DEPS], batch_id))
        case NotResolvable(state=state):
            raise ProblemError(action_problems.not_resolvable(state.value))
        case Invalid() as invalid:
            raise ProblemError(problems.invalid_request(invalid))
        case unexpected:
            assert_never(unexpected)


def no_batch(deps: Deps, batch_id: UUID) -> Problem:
    """Say that there is no such batch, or none any more."""
    return problems.missing("batch", batch_id, kept_for=deps.settings.retention)


def resolution_of(body: ResolutionBody, caller: Caller) -> Resolution:
    """Return a new decision of a caller."""
    return Resolution(
        resolution_id=new_id(),
        decision=body.decision,
        release_package_id=body.release_package_id,
        reason=body.reason,
        resolved_by=caller.actor,
    )
