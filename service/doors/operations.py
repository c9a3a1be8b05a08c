"""The HTTP door of operations: cancel or retry many release requests, after a look at what would happen."""

from dataclasses import replace
from typing import Annotated, assert_never
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.core.audit_trail import Reason
from service.core.field_errors import FieldError
from service.core.ids import new_id
from service.core.operations import MOST_TARGETS, Operation, OperationAction, Progress
from service.core.request_filter import BadFilter, RequestFilter, read_filter
from service.core.submission import Invalid
from service.deps import Deps
from service.doors import action_problems, problems
from service.doors.auth import Caller, Scope
from service.doors.bodies import ActionBody, read_body
from service.doors.http import HTTP_REQUEST_ID
from service.doors.keys import DEPS
from service.doors.operating_resources import OperationPreview, OperationResource
from service.doors.operation import Reply, operation
from service.doors.parameters import read_id
from service.doors.problems import Problem, ProblemError
from service.doors.render import json_response, request_resource
from service.doors.request_actions import read_actor
from service.flow import operations
from service.flow.operations import CountChanged, NoSuchOperation, NotRunning, Preview, TooMany

OPERATIONS_PATH = "/v1/operations"
_FilterText = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class OperationBody(BaseModel):
    """What to do to which release requests; nothing is done without ``execute``."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [{"action": "retry", "filter": {"state": "failed", "label.team": "bi"}}]
        },
    )

    action: Annotated[OperationAction, Field(strict=False)]
    filter: Annotated[dict[str, _FilterText], Field(max_length=20)]
    execute: bool = False
    expect: Annotated[int, Field(ge=0, le=MOST_TARGETS)] | None = None
    reason: Reason | None = None


@operation(
    "Cancel or retry many release requests",
    body=OperationBody,
    replies={
        200: Reply(description="What would happen.", shape=OperationPreview),
        202: Reply(
            description="It is on record, and workers carry it out.",
            shape=OperationResource,
            headers={"Location": "Where its progress is."},
        ),
    },
    problems=(409, 413, 415, 422),
)
async def create(request: web.Request, caller: Caller) -> web.Response:
    """Show how many release requests match, with a sample; with `execute`, act on them.

    The filter has the members of the list's query and may not be empty. Only requests that can be acted on match:
    those that wait, to cancel; those that failed or were rejected, to retry. `execute` needs `expect`, the count that
    the caller has seen, and a `reason`.
    """
    body = await read_body(request, OperationBody)
    check_applicants(caller, body.action)
    wanted = _read_filter(body)
    if not body.execute:
        shown = await operations.preview(request.app[DEPS], body.action, wanted, visible=caller.visible)
        return _render_preview(body, shown)
    ordered, expected = _read_order(request, caller, body)
    outcome = await operations.start(request.app[DEPS], ordered, wanted, expected=expected)
    return _render_started(outcome)


@operation(
    "Ask how far an operation has come",
    replies={200: Reply(description="The operation.", shape=OperationResource)},
    problems=(404, 410),
)
async def show(request: web.Request, caller: Caller) -> web.Response:
    """Return an operation of the caller's; an admin of all workspaces sees every one."""
    operation_id = read_id(request)
    progress = await operations.find(request.app[DEPS], operation_id, owner=owner_of(caller))
    if progress is None:
        raise ProblemError(no_operation(request.app[DEPS], operation_id))
    return json_response(operation_resource(progress))


@operation(
    "Stop an operation",
    body=ActionBody,
    replies={200: Reply(description="It is stopped.", shape=OperationResource)},
    problems=(404, 409, 410, 413, 415, 422),
)
async def abort(request: web.Request, caller: Caller) -> web.Response:
    """Stop an operation that runs; what it has done stays done."""
    actor = replace(await read_actor(request, caller), owner=owner_of(caller))
    operation_id = read_id(request)
    outcome = await operations.abort(request.app[DEPS], operation_id, actor)
    match outcome:
        case Progress():
            return json_response(operation_resource(outcome))
        case NoSuchOperation():
            raise ProblemError(no_operation(request.app[DEPS], operation_id))
        case NotRunning(progress=progress):
            raise ProblemError(action_problems.not_running(progress.state))
        case _:
            assert_never(outcome)


def no_operation(deps: Deps, operation_id: UUID) -> Problem:
    """Say that there is no such operation, or none any more."""
    return problems.missing("operation", operation_id, kept_for=deps.settings.retention)


def check_applicants(caller: Caller, action: OperationAction) -> None:
    """Refuse a key that is bound to applicants where the action releases: what matches may be of many.

    Raises:
        ProblemError: it is bound.
    """
    if caller.apply_user_ids and action is OperationAction.RETRY:
        raise ProblemError(
            problems.forbidden("a key that may apply for anybody: what matches may be of many applicants")
        )


def owner_of(caller: Caller) -> str | None:
    """Whose operations the caller may see: an admin of all workspaces everybody's, others their own."""
    return None if Scope.ADMIN in caller.scopes and caller.sees_all else caller.name


def _read_filter(body: OperationBody) -> RequestFilter:
    wanted = read_filter(body.filter)
    if isinstance(wanted, BadFilter):
        raise _wrong("/filter", "bad-filter", wanted.detail)
    if wanted.is_empty:
        raise _wrong("/filter", "empty-filter", "Expected at least one condition; given none.")
    return wanted


def _read_order(request: web.Request, caller: Caller, body: OperationBody) -> tuple[Operation, int]:
    if body.expect is None:
        raise _wrong("/expect", "missing", "Expected the count that an operation without execute has shown.")
    if body.reason is None:
        raise _wrong("/reason", "missing", "Expected a reason, since every request gets it in its timeline.")
    ordered = Operation(
        operation_id=new_id(),
        action=body.action,
        filter=body.filter,
        caller=caller.name,
        actor=caller.actor,
        visible=caller.visible,
        reason=body.reason,
        http_request_id=request[HTTP_REQUEST_ID],
    )
    return ordered, body.expect


def _wrong(pointer: str, code: str, detail: str) -> ProblemError:
    error = FieldError(pointer=pointer, code=code, detail=detail)
    return ProblemError(problems.invalid_request(Invalid(errors=(error,))))


def _render_preview(body: OperationBody, shown: Preview | TooMany) -> web.Response:
    if isinstance(shown, TooMany):
        raise _too_many(shown)
    preview: OperationPreview = {
        "action": body.action,
        "filter": body.filter,
        "count": shown.count,
        "sample": [request_resource(view) for view in shown.sample],
    }
    return json_response(preview)


def _render_started(outcome: Progress | TooMany | CountChanged) -> web.Response:
    match outcome:
        case Progress():
            headers = {"Location": f"{OPERATIONS_PATH}/{outcome.operation.operation_id}"}
            return json_response(operation_resource(outcome), status=202, headers=headers)
        case TooMany():
            raise _too_many(outcome)
        case CountChanged(expected=expected, count=count):
            raise ProblemError(action_problems.count_changed(expected=expected, count=count))
        case _:
            assert_never(outcome)


def _too_many(outcome: TooMany) -> ProblemError:
    return _wrong("/filter", "too-many", f"Expected a filter that at most {outcome.most} requests match.")


def operation_resource(progress: Progress) -> OperationResource:
    """Return an operation as callers see it."""
    ordered = progress.operation
    path = f"{OPERATIONS_PATH}/{ordered.operation_id}"
    return {
        "id": ordered.operation_id,
        "action": ordered.action,
        "filter": dict(ordered.filter),
        "actor": ordered.actor,
        "reason": ordered.reason,
        "state": progress.state,
        "total": progress.total,
        "succeeded": progress.succeeded,
        "skipped": progress.skipped,
        "created_at": progress.created_at,
        "finished_at": progress.finished_at,
        "links": {"self": path, "abort": f"{path}/abort"},
    }
