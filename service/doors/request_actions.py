"""The HTTP door of what is done to a release request: cancel it, or have it tried again."""

from typing import assert_never

from aiohttp import web

from service.doors import action_problems, problems
from service.doors.auth import Caller
from service.doors.bodies import ActionBody, read_optional_body
from service.doors.http import HTTP_REQUEST_ID
from service.doors.keys import DEPS, INTAKE
from service.doors.operation import Reply, operation
from service.doors.parameters import read_id
from service.doors.problems import Problem, ProblemError
from service.doors.render import REQUESTS_PATH, json_response, request_resource
from service.doors.requests import find_view, no_request
from service.doors.resources import ReleaseRequest
from service.flow.accept import NotApplicant
from service.flow.accept_group import ItemConflict
from service.flow.acting import (
    Actor,
    Done,
    NoSuchRequest,
    NotCancellable,
    NotRetryable,
    NotTheirs,
    cancel_request,
    retry_request,
)


@operation(
    "Cancel a release request",
    body=ActionBody,
    replies={200: Reply(description="It is cancelled.", shape=ReleaseRequest)},
    problems=(400, 403, 404, 409, 410, 413, 415, 422),
)
async def cancel(request: web.Request, caller: Caller) -> web.Response:
    """End a release request for which no call was made.

    A key with the scope submit cancels its own requests, one with operate those of its workspaces. Cancelling what
    is cancelled is no error.
    """
    deps, request_id = request.app[DEPS], read_id(request)
    actor = await read_actor(request, caller)
    outcome = await cancel_request(deps, request.app[INTAKE], request_id, actor)
    if not isinstance(outcome, Done):
        raise ProblemError(problem_of(outcome, no_request(deps, request_id)))
    return json_response(request_resource(await find_view(deps, request_id, caller)))


@operation(
    "Retry a release request",
    body=ActionBody,
    replies={
        202: Reply(
            description="It waits again.",
            shape=ReleaseRequest,
            headers={"Location": "Where the release request is.", "Retry-After": "When to ask again."},
        )
    },
    problems=(400, 403, 404, 409, 410, 413, 415, 422),
)
async def retry(request: web.Request, caller: Caller) -> web.Response:
    """Have a failed or rejected release request tried again, under its id.

    A key with the scope submit retries its own requests, one with operate those of its workspaces.
    """
    deps, request_id = request.app[DEPS], read_id(request)
    actor = await read_actor(request, caller)
    outcome = await retry_request(deps, request.app[INTAKE], request_id, actor)
    if not isinstance(outcome, Done):
        raise ProblemError(problem_of(outcome, no_request(deps, request_id)))
    view = await find_view(deps, request_id, caller)
    headers = {"Location": f"{REQUESTS_PATH}/{request_id}", "Retry-After": "1"}
    return json_response(request_resource(view), status=202, headers=headers)


async def read_actor(request: web.Request, caller: Caller) -> Actor:
    """Return who acts, with the reason that the body gives.

    Raises:
        ProblemError: the body is not of the form.
    """
    body = await read_optional_body(request, ActionBody)
    return Actor(
        name=caller.actor,
        visible=caller.visible,
        owner=caller.owner,
        reason=body.reason,
        http_request_id=request[HTTP_REQUEST_ID],
        may_apply_for=caller.may_apply_for,
    )


def problem_of(
    outcome: NoSuchRequest | NotTheirs | NotApplicant | NotCancellable | NotRetryable | ItemConflict,
    missing: Problem,
) -> Problem:
    """Say why a request was not acted on; ``missing`` is for the case that there is none."""
    match outcome:
        case NoSuchRequest():
            return missing
        case NotTheirs():
            return problems.forbidden("the key that handed the request in, or one with the scope operate")
        case NotApplicant():
            return problems.not_allowed(outcome)
        case NotCancellable(state=state):
            return action_problems.not_cancellable(state)
        case NotRetryable(state=state, is_too_late=is_too_late):
            return action_problems.not_retryable(state, is_too_late=is_too_late)
        case ItemConflict():
            return problems.item_conflict(outcome)
        case _:
            assert_never(outcome)
