"""The queue door: release requests that producers put on Redis with arq, without HTTP.

A request is as safe as that Redis until it is accepted here; from then on it is one like any other.
"""

import hashlib
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import orjson
import structlog
from arq import Retry
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.core.config import Settings
from service.core.errors import Unavailable
from service.core.field_errors import field_errors
from service.core.json_input import Malformed, read_json
from service.core.model import RequestState
from service.core.submission import Invalid
from service.core.telemetry import LogEvent
from service.deps import Deps
from service.doors import problems
from service.doors.auth import EVERYBODY
from service.doors.http import good_traceparent
from service.doors.problems import Problem
from service.flow import status
from service.flow.accept import Envelope, Refusal, accept
from service.flow.accept_group import Accepted, AcceptOutcome, Replayed
from service.flow.intake import Intake

#: arq's name of the one function that producers may call.
RELEASE_REQUEST = "release_request"
#: Owner of the idempotency keys of producers, where callers have names.
QUEUE_PRODUCERS = "queue"
_RETRY_AFTER = timedelta(seconds=1)

log = structlog.get_logger()


class QueueEnvelope(BaseModel):
    """What a producer sends: version 1."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    v: Annotated[int, Field(ge=1, le=1)]
    idempotency_key: Annotated[str, StringConstraints(pattern=r"^[ -~]{1,255}$")] | None = None
    traceparent: str | None = None
    request: dict[str, Any]


async def release_request(ctx: dict[str, Any], *arguments: Any, **named: Any) -> dict[str, Any]:  # noqa: ANN401 - strangers send it
    """Accept a release request from the queue; arq keeps what is returned as the job's result."""
    if len(arguments) != 1 or named:
        given = len(arguments) + len(named)
        return _refuse(problems.malformed_json(f"Expected one argument, the envelope; given {given}."))
    try:
        return await take_in(ctx["deps"], ctx["intake"], arguments[0], job_key=job_key(ctx))
    except Unavailable as error:
        log.warning(LogEvent.ACCEPT_RETRIED, reason=str(error))
        raise Retry(defer=_RETRY_AFTER) from error


def job_key(ctx: dict[str, Any]) -> str:
    """Name one enqueueing of a job: arq runs a job again whose worker died, and that is the same request."""
    enqueued = f"{ctx['job_id']} {ctx['enqueue_time'].timestamp()}"
    return f"arq:{hashlib.sha256(enqueued.encode()).hexdigest()}"


async def take_in(deps: Deps, intake: Intake, argument: object, *, job_key: str) -> dict[str, Any]:
    """Check an envelope and accept the request in it.

    Raises:
        Unavailable: it is not known to be durable; the job stays on the queue.
    """
    envelope = read_envelope(argument)
    if not isinstance(envelope, QueueEnvelope):
        return _refuse(problems.of_refusal(envelope))
    outcome = await accept(deps, intake, _envelope_of(envelope, deps.settings, job_key=job_key))
    return await _result(deps, outcome)


def read_envelope(argument: object) -> QueueEnvelope | Malformed | Invalid:
    """Read the argument of a job, as strictly as the body of an HTTP request."""
    try:
        raw = orjson.dumps(argument)
    except orjson.JSONEncodeError as error:
        return Malformed(detail=f"Expected JSON; {error}.")
    parsed = read_json(raw)
    if isinstance(parsed, Malformed):
        return parsed
    try:
        return QueueEnvelope.model_validate_json(raw)
    except ValidationError as error:
        return Invalid(errors=tuple(field_errors(error, QueueEnvelope)))


def _envelope_of(envelope: QueueEnvelope, settings: Settings, *, job_key: str) -> Envelope:
    return Envelope(
        caller=EVERYBODY if settings.auth == "off" else QUEUE_PRODUCERS,
        idempotency_key=envelope.idempotency_key or job_key,
        traceparent=good_traceparent(envelope.traceparent),
        may_use=lambda _project_id, _workspace: True,
        may_apply_for=lambda _apply_user_id: True,
        parsed=envelope.request,
        raw=orjson.dumps(envelope.request),
    )


async def _result(deps: Deps, outcome: AcceptOutcome | Refusal) -> dict[str, Any]:
    match outcome:
        case Accepted(request=request, may_have_moved=may_have_moved):
            state = await _state_of(deps, request.request_id) if may_have_moved else RequestState.ACCEPTED
            return {"id": str(request.request_id), "state": state.value}
        case Replayed(request_id=request_id):
            return {"id": str(request_id), "state": (await _state_of(deps, request_id)).value}
        case _:
            return _refuse(problems.of_refusal(outcome))


async def _state_of(deps: Deps, request_id: UUID) -> RequestState:
    view = await status.find_request(deps, request_id, visible=("%",))
    return RequestState.ACCEPTED if view is None else view.state


def _refuse(problem: Problem) -> dict[str, Any]:
    log.warning(LogEvent.ENVELOPE_REFUSED, code=problem.code, detail=problem.detail)
    return {"problem": problem.as_dict()}
