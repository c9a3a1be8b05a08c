"""Ends a request before it is sent, or has one that failed tried again, on somebody's word.

Takes: a request's id, and who acts with which reason.
Leaves: the request, its items and its timeline changed, and an entry of the audit trail, in one transaction.
If it dies here: nothing was changed, or all of it; the sweep rings for what waits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.core.audit_trail import AuditEntry
from service.core.model import ItemState, RequestState
from service.core.place import Place
from service.deps import Deps
from service.flow.accept import NotApplicant
from service.flow.accept_group import ItemConflict
from service.flow.intake import Intake
from service.gateways.store import audit_log, cancelling, expiring, progress, retrying
from service.gateways.store.cancelling import Standing
from service.gateways.store.database import Connection
from service.gateways.store.retrying import Again, OtherHolder


def _for_anybody(_apply_user_id: str) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, on what, and why."""

    name: str
    #: Patterns of the workspaces that the actor may see.
    visible: tuple[str, ...]
    #: Only requests of this caller; None where the actor may act on those of all.
    owner: str | None
    reason: str | None
    http_request_id: str | None
    #: Whether the actor may have something released for an applicant.
    may_apply_for: Callable[[str], bool] = _for_anybody


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The request was changed, or stood so already."""

    #: Requests whose waiters want to know.
    changed: tuple[UUID, ...] = ()
    #: Batch keys that have work now, each with its workspace.
    keys: tuple[tuple[UUID, Place], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSuchRequest:
    """There is none of this id that the actor may see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTheirs:
    """Another caller handed the request in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCancellable:
    """A call was made for it, or it is done."""

    state: RequestState


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRetryable:
    """It has not failed, or it would expire at once."""

    state: RequestState
    is_too_late: bool = False


CancelOutcome = Done | NoSuchRequest | NotTheirs | NotCancellable
RetryOutcome = Done | NoSuchRequest | NotTheirs | NotApplicant | NotRetryable | ItemConflict


async def cancel_request(deps: Deps, intake: Intake, request_id: UUID, actor: Actor) -> CancelOutcome:
    """End a request for which no call was made; one that is cancelled already stays so.

    Raises:
        DatabaseUnavailable: it is not known whether it was; asking again is safe.
    """
    outcome = await deps.database.transact(lambda connection: cancel_within(connection, request_id, actor))
    tell(deps, intake, outcome)
    return outcome


async def retry_request(deps: Deps, intake: Intake, request_id: UUID, actor: Actor) -> RetryOutcome:
    """Have a request that failed or was rejected wait again.

    Raises:
        DatabaseUnavailable: it is not known whether it does; where it does, asking again says ``NotRetryable``.
    """
    outcome = await deps.database.transact(lambda connection: retry_within(connection, request_id, actor))
    tell(deps, intake, outcome)
    return outcome


def tell(deps: Deps, intake: Intake, outcome: CancelOutcome | RetryOutcome) -> None:
    """Wake whoever waits for what was changed, after the commit."""
    if isinstance(outcome, Done):
        deps.changes.tell(outcome.changed)
        for key, place in outcome.keys:
            intake.waker.note(key, place, items=1)


async def cancel_within(connection: Connection, request_id: UUID, actor: Actor) -> CancelOutcome:
    """Do what ``cancel_request`` does, in the transaction of the caller, who tells of it after the commit."""
    standing = await _find_theirs(connection, request_id, actor)
    if not isinstance(standing, Standing):
        return standing
    items = await cancelling.lock_items(connection, request_id)
    if not items:
        return NoSuchRequest()
    if all(item.state is ItemState.CANCELLED for item in items):
        return Done()
    if not all(item.state is ItemState.WAITING for item in items):
        return NotCancellable(state=await _state_now(connection, request_id, actor))
    item_ids = tuple(item.item_id for item in items)
    await cancelling.cancel_items(connection, item_ids)
    keys = await expiring.hand_on(connection, item_ids)
    await expiring.lock_requests(connection, (request_id,))
    changed = await progress.follow_requests(connection, [request_id], detail=_detail(actor))
    await audit_log.record(connection, _entry("request.cancelled", standing, actor, RequestState.CANCELLED))
    return Done(changed=tuple(changed), keys=tuple((key, standing.place) for key in keys))


async def retry_within(connection: Connection, request_id: UUID, actor: Actor) -> RetryOutcome:
    """Do what ``retry_request`` does, in the transaction of the caller, who tells of it after the commit."""
    standing = await _find_theirs(connection, request_id, actor)
    if not isinstance(standing, Standing):
        return standing
    if not actor.may_apply_for(standing.apply_user_id):
        return NotApplicant(apply_user_id=standing.apply_user_id)
    await cancelling.lock_items(connection, request_id)
    again = await retrying.lock_for_retry(connection, request_id)
    if again is None:
        return NoSuchRequest()
    if not again.may_wait:
        return NotRetryable(state=again.state, is_too_late=again.is_too_late)
    held = await retrying.find_other_holders(connection, request_id)
    conflict = _conflict_with(again, held)
    if conflict is not None:
        return conflict
    await retrying.reopen(connection, request_id, held, detail=_detail(actor))
    if held:
        await progress.follow_requests(connection, [request_id], detail={"attached": True})
    await audit_log.record(connection, _entry("request.retried", standing, actor, RequestState.ACCEPTED))
    return Done(changed=(request_id,), keys=((again.batch_key, standing.place),))


async def _find_theirs(
    connection: Connection, request_id: UUID, actor: Actor
) -> Standing | NoSuchRequest | NotTheirs:
    standing = await cancelling.find_standing(connection, request_id, visible=actor.visible)
    if standing is None:
        return NoSuchRequest()
    return standing if actor.owner in (None, standing.caller) else NotTheirs()


async def _state_now(connection: Connection, request_id: UUID, actor: Actor) -> RequestState:
    """Read the state again, behind the locks."""
    standing = await cancelling.find_standing(connection, request_id, visible=actor.visible)
    if standing is None:
        raise AssertionError("a request whose items are locked is there: the foreign key says so")
    return standing.state


def _conflict_with(again: Again, held: Sequence[OtherHolder]) -> ItemConflict | None:
    for other in held:
        if (other.apply_user_id, other.approver_ids) != (again.apply_user_id, again.approver_ids):
            return ItemConflict(pending_item_id=other.pending_item_id, request_id=other.request_id)
    return None


def _detail(actor: Actor) -> dict[str, object]:
    reason = {} if actor.reason is None else {"reason": actor.reason}
    return {"actor": actor.name, **reason}


def _entry(action: str, standing: Standing, actor: Actor, state: RequestState) -> AuditEntry:
    return AuditEntry(
        actor=actor.name,
        action=action,
        target=str(standing.request_id),
        project_id=standing.project_id,
        workspace=standing.workspace,
        reason=actor.reason,
        before={"state": standing.state},
        after={"state": state},
        http_request_id=actor.http_request_id,
    )
