"""Accepts a release request, whichever door it came through.

Takes: the JSON of a request, and who sent it.
Leaves: a durable request, or everything that is wrong with it.
If it dies here: nothing was promised yet; the caller asks again with the same key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from service.core.ids import new_id
from service.core.submission import Invalid, Submission, read_submission
from service.deps import Deps
from service.flow.group_commit import AcceptOutcome, KeyReused
from service.flow.intake import Intake
from service.gateways.store import accepting
from service.gateways.store.accepting import NewRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A request as it came in: its JSON, read and unread, and what its door knows of the sender."""

    caller: str
    idempotency_key: str | None
    traceparent: str | None
    #: Whether the sender may release in a workspace: project id, workspace.
    may_use: Callable[[str, str], bool]
    parsed: object
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAllowed:
    """The sender may not release in this workspace."""

    project_id: str
    workspace: str


async def accept(deps: Deps, intake: Intake, envelope: Envelope) -> AcceptOutcome | Invalid | NotAllowed:
    """Check a request and make it durable: after this returns ``Accepted``, it is not lost.

    Raises:
        DatabaseUnavailable: it is not known to be durable; asking again with the same key is safe.
    """
    submission = read_submission(
        envelope.parsed, envelope.raw, defaults=deps.settings.defaults, now=datetime.now(UTC)
    )
    if isinstance(submission, Invalid):
        return await _prefer_key_reused(deps, envelope, submission)
    key = submission.key
    if not envelope.may_use(key.project_id, key.workspace):
        return NotAllowed(project_id=key.project_id, workspace=key.workspace)
    return await intake.acceptor.accept(_new_request(envelope, submission))


def _new_request(envelope: Envelope, submission: Submission) -> NewRequest:
    return NewRequest(
        request_id=new_id(),
        caller=envelope.caller,
        idempotency_key=envelope.idempotency_key,
        traceparent=envelope.traceparent,
        submission=submission,
        digest=submission.digest,
    )


async def _prefer_key_reused(deps: Deps, envelope: Envelope, invalid: Invalid) -> KeyReused | Invalid:
    """A key that is taken is the first thing to say: no valid body can have been this one."""
    if envelope.idempotency_key is None:
        return invalid
    async with deps.database.connection() as connection:
        keys = await accepting.find_keys(connection, [(envelope.caller, envelope.idempotency_key)])
    return KeyReused(request_id=keys[0].request_id) if keys else invalid
