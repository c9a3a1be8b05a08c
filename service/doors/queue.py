"""The queue door: release requests that producers put on Redis with arq, without HTTP.

A request is as safe as that Redis until it is accepted here; from then on it is one like any other.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import orjson
import structlog
from arq import Retry
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.core.backoff import Backoff
from service.core.caps import TooMuchWaiting
from service.core.config import Settings
from service.core.errors import Unavailable
from service.core.field_errors import field_errors
from service.core.identifiers import is_identifier
from service.core.ids import new_id
from service.core.json_input import Malformed, read_json
from service.core.model import RequestState
from service.core.rejects import (
    MOST_BYTES,
    Reject,
    StrangeEntry,
    digest_of_entry,
    kept_problem,
    shown_id,
)
from service.core.submission import Defaults, Invalid
from service.core.telemetry import LogEvent
from service.core.tracing import Span, SpanField, SpanKind, current_span
from service.deps import Deps
from service.doors import problems
from service.doors.auth import EVERYBODY
from service.doors.http import good_traceparent
from service.doors.problems import Problem
from service.flow import status
from service.flow.accept import Envelope, Refusal, accept
from service.flow.accept_group import Accepted, AcceptOutcome, Replayed
from service.flow.intake import Intake
from service.flow.rejects import keep_reject
from service.gateways.queue import Payload, read_payload

#: arq's name of the one function that producers may call.
RELEASE_REQUEST = "release_request"
#: Owner of the idempotency keys of producers, where callers have names.
QUEUE_PRODUCERS = "queue"
_RETRY_AFTER = timedelta(seconds=1)
#: How often a job looks whether there is room for it.
_ROOM_PAUSE = Backoff(base=timedelta(seconds=2), cap=timedelta(seconds=60))

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
    deps: Deps = ctx["deps"]
    try:
        result = await _take_in(ctx, arguments, named)
        if isinstance(result, TooMuchWaiting):
            raise _postponed(result, tries=ctx["job_try"])
        if not isinstance(result, Problem):
            return result
        log.warning(LogEvent.ENVELOPE_REFUSED, code=result.code, detail=result.detail)
        payload = await read_payload(ctx["redis"], ctx["job_id"], most=MOST_BYTES)
        place = place_of(arguments[0] if arguments else None, deps.settings.defaults)
        await keep_reject(deps, _reject_of_job(ctx, result, payload, place))
    except Unavailable as error:
        log.warning(LogEvent.ACCEPT_RETRIED, reason=str(error))
        raise Retry(defer=_RETRY_AFTER) from error
    except asyncio.CancelledError:  # arq gives up a job that takes too long, and would drop it
        raise Retry(defer=_RETRY_AFTER) from None
    return {"problem": result.as_dict()}


async def _take_in(
    ctx: dict[str, Any], arguments: Sequence[object], named: Mapping[str, object]
) -> dict[str, Any] | Problem | TooMuchWaiting:
    if len(arguments) != 1 or named:
        given = len(arguments) + len(named)
        return problems.malformed_json(f"Expected one argument, the envelope; given {given}.")
    try:
        return await take_in(ctx["deps"], ctx["intake"], arguments[0], job_key=job_key(ctx))
    except Unavailable:
        raise
    except Exception:
        log.exception(LogEvent.ENVELOPE_FAILED)
        return problems.internal_error()


def _postponed(outcome: TooMuchWaiting, *, tries: int) -> Retry:
    """Leave a job on the queue until there is room: its producer may never look at a result."""
    if tries == 1:
        log.warning(
            LogEvent.ENVELOPE_POSTPONED,
            cap=outcome.cap_name,
            project_id=outcome.place.project_id,
            workspace=outcome.place.workspace,
        )
    return Retry(defer=_ROOM_PAUSE.delay(tries))


def _reject_of_job(
    ctx: dict[str, Any], problem: Problem, payload: Payload, place: tuple[str, str] | None
) -> Reject:
    queue, job_id = ctx["deps"].settings.queue, ctx["job_id"].encode()
    return Reject(
        reject_id=new_id(),
        queue=queue,
        job_id=shown_id(job_id),
        digest=digest_of_entry(queue, job_id, job_key(ctx).encode()),
        code=problem.code,
        problem=kept_problem(problem.as_dict()),
        payload=payload.beginning,
        payload_bytes=payload.size,
        place=place,
    )


async def reject_stranger(deps: Deps, entry: StrangeEntry) -> None:
    """List an entry of the queue that is not run.

    Raises:
        Unavailable: it is not listed, so it has to stay on the queue.
    """
    queue, payload = deps.settings.queue, entry.payload
    reject = Reject(
        reject_id=new_id(),
        queue=queue,
        job_id=shown_id(entry.job_id),
        digest=digest_of_entry(queue, entry.job_id, payload or b""),
        code=entry.fault.value,
        problem=problems.strange_entry(entry.detail).as_dict(),
        payload=None if payload is None else payload[:MOST_BYTES],
        payload_bytes=None if payload is None else len(payload),
        place=None,
    )
    await keep_reject(deps, reject)


def place_of(argument: object, defaults: Defaults) -> tuple[str, str] | None:
    """Return the project and workspace that an envelope is for, as far as it can be read."""
    request = argument.get("request") if isinstance(argument, dict) else None
    if not isinstance(request, dict):
        return None
    project_id = request.get("project_id") or defaults.project_id
    workspace = request.get("workspace") or defaults.workspace
    if is_identifier(project_id) and is_identifier(workspace):
        return project_id, workspace
    return None


def job_key(ctx: dict[str, Any]) -> str:
    """Name one enqueueing of a job: arq runs a job again whose worker died, and that is the same request."""
    enqueued = f"{ctx['job_id']} {ctx['enqueue_time'].timestamp()}"
    return f"arq:{hashlib.sha256(enqueued.encode()).hexdigest()}"


async def take_in(
    deps: Deps, intake: Intake, argument: object, *, job_key: str
) -> dict[str, Any] | Problem | TooMuchWaiting:
    """Check an envelope and accept the request in it.

    Raises:
        Unavailable: it is not known to be durable; the job stays on the queue.
    """
    envelope = read_envelope(argument)
    if not isinstance(envelope, QueueEnvelope):
        return problems.of_refusal(envelope)
    with _open_span(deps, envelope) as span:
        outcome = await accept(deps, intake, _envelope_of(envelope, deps.settings, job_key=job_key))
        if isinstance(outcome, TooMuchWaiting) and outcome.more <= outcome.cap:
            return outcome
        result = await _result(deps, outcome)
        _note_result(span, result)
        return result


def _open_span(deps: Deps, envelope: QueueEnvelope) -> AbstractContextManager[Span]:
    """Open the span of an envelope: a child of its producer's, or the first of a trace."""
    given = good_traceparent(envelope.traceparent)
    return deps.tracer.open(
        SpanKind.CONSUMER,
        f"process {RELEASE_REQUEST}",
        parents=() if given is None else (given,),
        facts={
            SpanField.MESSAGING_SYSTEM: "arq",
            SpanField.MESSAGING_OPERATION: "process",
            SpanField.MESSAGING_QUEUE: deps.settings.queue,
        },
    )


def _note_result(span: Span, result: dict[str, Any] | Problem) -> None:
    if isinstance(result, Problem):
        span.fail(result.code)
    else:
        span.note({SpanField.REQUEST_ID: result["id"]})


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
        traceparent=current_span().traceparent or good_traceparent(envelope.traceparent),
        may_use=lambda _project_id, _workspace: True,
        may_apply_for=lambda _apply_user_id: True,
        parsed=envelope.request,
        raw=orjson.dumps(envelope.request),
    )


async def _result(deps: Deps, outcome: AcceptOutcome | Refusal) -> dict[str, Any] | Problem:
    match outcome:
        case Accepted(request=request, may_have_moved=may_have_moved):
            state = await _state_of(deps, request.request_id) if may_have_moved else RequestState.ACCEPTED
            return {"id": str(request.request_id), "state": state.value}
        case Replayed(request_id=request_id):
            return {"id": str(request_id), "state": (await _state_of(deps, request_id)).value}
        case _:
            return problems.of_refusal(outcome)


async def _state_of(deps: Deps, request_id: UUID) -> RequestState:
    view = await status.find_request(deps, request_id, visible=("%",))
    return RequestState.ACCEPTED if view is None else view.state
