"""Accepts a release request, whichever door it came through.

Takes: the JSON of a request, and who sent it.
Leaves: a durable request, or everything that is wrong with it.
If it dies here: nothing was promised yet; the caller asks again with the same key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from service.core.caps import TooMuchWaiting
from service.core.ids import new_id
from service.core.json_input import Malformed
from service.core.submission import Defaults, Invalid, Submission, read_submission
from service.deps import Deps
from service.flow.accept_group import AcceptOutcome, KeyReused, Replayed
from service.flow.intake import Intake
from service.gateways.store import accepting
from service.gateways.store.accepting import NewRequest

#: A moment before any deadline.
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A request as it came in: its JSON, read and unread, and what its door knows of the sender."""

    caller: str
    idempotency_key: str | None
    traceparent: str | None
    #: Whether the sender may release in a workspace: project id, workspace.
    may_use: Callable[[str, str], bool]
    #: Whether the sender may apply for a user.
    may_apply_for: Callable[[str], bool]
    parsed: object | Malformed
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAllowed:
    """The sender may not release in this workspace."""

    project_id: str
    workspace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotApplicant:
    """The sender may not apply for this user."""

    apply_user_id: str


Refusal = Malformed | Invalid | NotAllowed | NotApplicant | TooMuchWaiting


async def accept(deps: Deps, intake: Intake, envelope: Envelope) -> AcceptOutcome | Refusal:
    """Check a request and make it durable: after this returns ``Accepted``, it is not lost.

    Raises:
        DatabaseUnavailable: it is not known to be durable; asking again with the same key is safe.
    """
    read = read_envelope(envelope, deps.settings.defaults, now=datetime.now(UTC))
    if isinstance(read, Submission):
        return await intake.acceptor.accept(_new_request(envelope, read))
    return await _prefer_known_key(deps, envelope, read)


def read_envelope(envelope: Envelope, defaults: Defaults, *, now: datetime) -> Submission | Refusal:
    """Check a request against every rule, and against what its sender may do."""
    if isinstance(envelope.parsed, Malformed):
        return envelope.parsed
    read = read_submission(envelope.parsed, envelope.raw, defaults=defaults, now=now)
    return _check_rights(envelope, read) if isinstance(read, Submission) else read


def _check_rights(envelope: Envelope, submission: Submission) -> Submission | NotAllowed | NotApplicant:
    key = submission.key
    if not envelope.may_use(key.project_id, key.workspace):
        return NotAllowed(project_id=key.project_id, workspace=key.workspace)
    if not envelope.may_apply_for(key.apply_user_id):
        return NotApplicant(apply_user_id=key.apply_user_id)
    return submission


def _new_request(envelope: Envelope, submission: Submission) -> NewRequest:
    return NewRequest(
        request_id=new_id(),
        caller=envelope.caller,
        idempotency_key=envelope.idempotency_key,
        traceparent=envelope.traceparent,
        submission=submission,
        digest=submission.digest,
    )


async def _prefer_known_key(
    deps: Deps, envelope: Envelope, refusal: Refusal
) -> Replayed | KeyReused | Refusal:
    """A key that was used is the first thing to judge by: a body that is too late now was in time then."""
    if envelope.idempotency_key is None:
        return refusal
    known = [(envelope.caller, envelope.idempotency_key)]
    keys = await deps.database.read(lambda connection: accepting.find_keys(connection, known))
    if not keys:
        return refusal
    stored = keys[0]
    then = read_envelope(envelope, deps.settings.defaults, now=LONG_AGO)
    if isinstance(then, Submission) and then.digest == stored.digest:
        return Replayed(request_id=stored.request_id)
    return KeyReused(request_id=stored.request_id)
