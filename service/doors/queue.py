"""The queue door: release requests that producers put on Redis with arq, without HTTP.

A request is as safe as that Redis until it is accepted here; from then on it is one like any other.
"""

from datetime import timedelta
from typing import Annotated, Any, assert_never

import orjson
import structlog
from arq import Retry
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.core.config import Settings
from service.core.errors import Unavailable
from service.core.json_input import Malformed, read_json
from service.core.submission import FieldError, Invalid, pointer
from service.core.telemetry import LogEvent
from service.deps import Deps
from service.doors import problems
from service.doors.auth import EVERYBODY
from service.doors.problems import Problem
from service.flow import status
from service.flow.accept import Envelope, NotAllowed, accept
from service.flow.group_commit import Accepted, ItemConflict, KeyReused, Replayed
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
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    traceparent: Annotated[str, Field(max_length=55)] | None = None
    request: dict[str, Any]


async def release_request(ctx: dict[str, Any], *arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - strangers send it
    """Accept a release request from the queue; arq keeps what is returned as the job's result."""
    deps: Deps = ctx["deps"]
    intake: Intake = ctx["intake"]
    if len(arguments) != 1:
        return _refuse(
            problems.malformed_json(f"Expected one argument, the envelope; given {len(arguments)}.")
        )
    try:
        return await take_in(deps, intake, arguments[0])
    except Unavailable as error:
        log.warning(LogEvent.ACCEPT_RETRIED, reason=str(error))
        raise Retry(defer=_RETRY_AFTER) from error


async def take_in(deps: Deps, intake: Intake, argument: object) -> dict[str, Any]:
    """Check an envelope and accept the request in it.

    Raises:
        Unavailable: it is not known to be durable; the job stays on the queue.
    """
    raw = orjson.dumps(argument, default=repr)
    parsed = read_json(raw)
    if isinstance(parsed, Malformed):
        return _refuse(problems.malformed_json(parsed.detail))
    try:
        envelope = QueueEnvelope.model_validate_json(raw)
    except ValidationError as error:
        return _refuse(problems.invalid_request(_invalid_envelope(error)))
    outcome = await accept(deps, intake, _envelope_of(envelope, deps.settings))
    return await _result(deps, outcome)


def _envelope_of(envelope: QueueEnvelope, settings: Settings) -> Envelope:
    return Envelope(
        caller=EVERYBODY if settings.auth == "off" else QUEUE_PRODUCERS,
        idempotency_key=envelope.idempotency_key,
        traceparent=envelope.traceparent,
        may_use=lambda _project_id, _workspace: True,
        parsed=envelope.request,
        raw=orjson.dumps(envelope.request),
    )


async def _result(
    deps: Deps, outcome: Accepted | Replayed | KeyReused | ItemConflict | Invalid | NotAllowed
) -> dict[str, Any]:
    match outcome:
        case Accepted(request=request):
            return {"id": str(request.request_id), "state": "accepted"}
        case Replayed(request_id=request_id):
            view = await status.find_request(deps, request_id, visible=("%",))
            return {"id": str(request_id), "state": view.state.value if view else "accepted"}
        case KeyReused():
            return _refuse(problems.key_reused(outcome))
        case ItemConflict():
            return _refuse(problems.item_conflict(outcome))
        case Invalid():
            return _refuse(problems.invalid_request(outcome))
        case NotAllowed():
            return _refuse(problems.workspace_forbidden(outcome))
        case _:
            assert_never(outcome)


def _invalid_envelope(error: ValidationError) -> Invalid:
    return Invalid(
        errors=tuple(
            FieldError(
                pointer=pointer(entry["loc"]), code=entry["type"].replace("_", "-"), detail=f"{entry['msg']}."
            )
            for entry in error.errors(include_url=False, include_context=False)
        )
    )


def _refuse(problem: Problem) -> dict[str, Any]:
    log.warning(LogEvent.ENVELOPE_REFUSED, code=problem.code, detail=problem.detail)
    return {"problem": problem.as_dict()}
