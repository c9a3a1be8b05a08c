"""Says what would become of requests if somebody cancelled or retried them now; nothing is changed.

Takes: an action, and the requests that somebody has picked.
Leaves: nothing. What is said holds for this moment; ``acting`` decides anew.
If it dies here: nothing was changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never
from uuid import UUID

from service.core.model import ItemState, RequestState
from service.core.operations import OperationAction
from service.deps import Deps
from service.flow.accept import NotApplicant
from service.flow.accept_group import ItemConflict
from service.flow.acting import (
    Actor,
    CancelOutcome,
    Done,
    NoSuchRequest,
    NotCancellable,
    NotRetryable,
    NotTheirs,
    RetryOutcome,
)
from service.gateways.store import foreseeing, request_lists
from service.gateways.store.database import Connection
from service.gateways.store.foreseeing import Prospect
from service.gateways.store.reading import RequestView


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """A request, and what acting on it would come to."""

    request_id: UUID
    #: None where there is none of this id that the actor may see.
    view: RequestView | None
    outcome: CancelOutcome | RetryOutcome


async def foresee(
    deps: Deps, action: OperationAction, request_ids: Sequence[UUID], actor: Actor
) -> list[Foreseen]:
    """Return what acting on each of the requests would come to, in their order.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """

    async def work(connection: Connection) -> list[Foreseen]:
        prospects = await foreseeing.find_prospects(connection, request_ids, visible=actor.visible)
        views = await request_lists.find_requests(connection, request_ids, visible=actor.visible)
        return [
            Foreseen(
                request_id=each,
                view=views.get(each),
                outcome=outcome_of(action, prospects.get(each), actor),
            )
            for each in request_ids
        ]

    return await deps.database.read_one_moment(work)


def outcome_of(
    action: OperationAction, prospect: Prospect | None, actor: Actor
) -> CancelOutcome | RetryOutcome:
    """Say what acting on one request would come to."""
    if prospect is None:
        return NoSuchRequest()
    if actor.owner not in (None, prospect.caller):
        return NotTheirs()
    match action:
        case OperationAction.CANCEL:
            return _of_cancelling(prospect)
        case OperationAction.RETRY:
            return _of_retrying(prospect, actor)
        case _:
            assert_never(action)


def _of_cancelling(prospect: Prospect) -> CancelOutcome:
    is_free = prospect.item_states in ({ItemState.WAITING}, {ItemState.CANCELLED})
    return Done() if is_free else NotCancellable(state=prospect.state)


def _of_retrying(prospect: Prospect, actor: Actor) -> RetryOutcome:
    if not actor.may_apply_for(prospect.apply_user_id):
        return NotApplicant(apply_user_id=prospect.apply_user_id)
    if prospect.state not in (RequestState.FAILED, RequestState.REJECTED):
        return NotRetryable(state=prospect.state)
    if prospect.is_too_late:
        return NotRetryable(state=prospect.state, is_too_late=True)
    if prospect.conflict is not None:
        pending_item_id, request_id = prospect.conflict
        return ItemConflict(pending_item_id=pending_item_id, request_id=request_id)
    return Done()
