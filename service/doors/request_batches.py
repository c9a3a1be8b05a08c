"""The HTTP door of many release requests at once: each line is one of its own, and has its own answer."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from service.core.errors import Unavailable
from service.core.field_errors import FieldError
from service.core.submission import EXAMPLE, Invalid, ReleaseRequestBody
from service.core.wording import shown
from service.deps import Deps
from service.doors import problems
from service.doors.auth import Caller
from service.doors.bodies import read_body
from service.doors.http import HTTP_REQUEST_ID, traceparent_of
from service.doors.keys import DEPS, INTAKE
from service.doors.operation import Reply, operation
from service.doors.parameters import idempotency_key_in
from service.doors.problems import Problem
from service.doors.render import accepted_resource, json_response, request_resource
from service.doors.resources import BatchResult, BatchResults, ProblemResource, ReleaseRequest
from service.flow.accept import Envelope, Refusal, accept
from service.flow.accept_group import Accepted, AcceptOutcome, Replayed
from service.flow.status import find_requests
from service.flow.windows import Windows
from service.gateways.store.reading import RequestView

MAX_REQUESTS = 1_000
Outcome = AcceptOutcome | Refusal | Unavailable


class BatchLine(ReleaseRequestBody):
    """A release request of many, with the idempotency key that the header would have."""

    idempotency_key: (
        Annotated[str, StringConstraints(min_length=1, max_length=255, pattern="^[!-~]([ -~]*[!-~])?$")]
        | None
    ) = None


class _LooseSchema:
    """Describes a line as a release request, or anything else: a bad line is no error of the whole."""

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"description": "Anything else: its result holds a problem."}]}


_MANY = Field(
    min_length=1,
    max_length=MAX_REQUESTS,
    description="Release requests as in the call for one; a bad one does not fail the others.",
)


class ReleaseRequestBatch(BaseModel):
    """Many release requests."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [{"requests": [{"idempotency_key": "order-4713", **EXAMPLE}]}],
        },
    )

    requests: Annotated[list[Annotated[BatchLine, _LooseSchema]], _MANY]


class _Lines(ReleaseRequestBatch):
    """The same before its lines are checked one by one, so that a bad one does not fail its neighbours."""

    requests: Annotated[list[Any], _MANY]


@operation(
    "Hand in many release requests",
    body=ReleaseRequestBatch,
    replies={200: Reply(description="What became of each, in their order.", shape=BatchResults)},
    problems=(400, 413, 415, 422),
)
async def create(request: web.Request, caller: Caller) -> web.Response:
    """Accept up to 1,000 release requests, each for itself: a bad one does not keep its neighbours out.

    Each line has the status that it would have had alone. Sending the same lines with the same keys again creates
    nothing new; such a line is marked ``replayed``.

    Raises:
        Unavailable: of none it is known whether it was accepted; asking again with the same keys is safe.
    """
    batch = await read_body(request, _Lines)
    deps, intake = request.app[DEPS], request.app[INTAKE]
    lines = [_read_line(line, request, caller) for line in batch.requests]

    async def outcome_of(line: Envelope | Invalid) -> Outcome:
        try:
            return line if isinstance(line, Invalid) else await accept(deps, intake, line)
        except Unavailable as error:
            return error

    outcomes = await asyncio.gather(*(outcome_of(line) for line in lines))
    _raise_if_all_failed(outcomes)
    views = await _find_views(deps, outcomes, caller)
    http_request_id = request[HTTP_REQUEST_ID]
    results = [_result(outcome, views, intake.waker.windows, http_request_id) for outcome in outcomes]
    return json_response({"results": results})


def _read_line(line: Any, request: web.Request, caller: Caller) -> Envelope | Invalid:  # noqa: ANN401 - not checked yet
    if not isinstance(line, dict):
        return _wrong("", "wrong-type", f"Expected an object; given {shown(line)}.")
    members = dict(line)
    given = members.pop("idempotency_key", None)
    key = idempotency_key_in(given) if isinstance(given, str) else None
    if given is not None and key is None:
        expected = "1 to 255 printable ASCII characters"
        return _wrong("/idempotency_key", "idempotency-key", f"Expected {expected}; given {shown(given)}.")
    return Envelope(
        caller=caller.name,
        idempotency_key=key,
        traceparent=traceparent_of(request),
        may_use=caller.may_use,
        may_apply_for=caller.may_apply_for,
        parsed=members,
        raw=json.dumps(members).encode(),
    )


def _wrong(pointer: str, code: str, detail: str) -> Invalid:
    return Invalid(errors=(FieldError(pointer=pointer, code=code, detail=detail),))


def _raise_if_all_failed(outcomes: Sequence[Outcome]) -> None:
    failures = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    if len(failures) == len(outcomes):
        raise failures[0]


async def _find_views(deps: Deps, outcomes: Sequence[Outcome], caller: Caller) -> Mapping[UUID, RequestView]:
    """Read the requests that may stand elsewhere than at their start."""
    moved = [
        outcome.request_id if isinstance(outcome, Replayed) else outcome.request.request_id
        for outcome in outcomes
        if isinstance(outcome, Replayed) or (isinstance(outcome, Accepted) and outcome.may_have_moved)
    ]
    return await find_requests(deps, moved, visible=caller.visible) if moved else {}


def _result(
    outcome: Outcome, views: Mapping[UUID, RequestView], windows: Windows, http_request_id: str
) -> BatchResult:
    match outcome:
        case Accepted(may_have_moved=False, request=new):
            is_paused = windows.is_paused(new.submission.key.place)
            return _accepted(accepted_resource(outcome, is_paused=is_paused), is_replay=False)
        case Accepted(request=new) if new.request_id in views:
            return _accepted(request_resource(views[new.request_id]), is_replay=False)
        case Replayed(request_id=request_id) if request_id in views:
            return _accepted(request_resource(views[request_id]), is_replay=True)
        case Accepted() | Replayed():
            return _refused(problems.not_found("release request"), http_request_id)
        case Unavailable():
            return _refused(problems.unavailable_by(outcome), http_request_id)
        case _:
            return _refused(problems.of_refusal(outcome), http_request_id)


def _accepted(resource: ReleaseRequest, *, is_replay: bool) -> BatchResult:
    status = 200 if is_replay and resource["done"] else 202
    return {"status": status, "replayed": is_replay, "release_request": resource}


def _refused(problem: Problem, http_request_id: str) -> BatchResult:
    shown_problem = cast("ProblemResource", problem.as_dict(http_request_id=http_request_id))
    return {"status": problem.status, "problem": shown_problem}
