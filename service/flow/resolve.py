"""Carries out what an operator decides about a batch that nobody else could decide.

Takes: a batch that needs attention, and a decision with its reason.
Leaves: a released or rejected batch, or one that is sent once more, and an entry of the audit trail.
If it dies here: nothing is written, or everything; whoever asks again is told which.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from service.core.audit_trail import AuditEntry
from service.core.errors import DatabaseUnavailable
from service.core.model import BatchState, Conclusion
from service.core.resolution import Decision, Resolution, conclusion_of, package_taken
from service.core.submission import Invalid
from service.core.telemetry import LogEvent
from service.deps import Deps
from service.flow.ring import ring_now
from service.gateways.store import audit_log, progress, resolving
from service.gateways.store.batches import error_json
from service.gateways.store.database import Connection
from service.gateways.store.resolving import LastAttempt, LockedBatch

#: A decision whose commit was not answered is written again for so long: it is written once.
_TRY_AGAIN_WITHIN_SECONDS = 3.0
_RETRY_PAUSE_SECONDS = 0.2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A decision about a batch, and who gives it."""

    batch_id: UUID
    resolution: Resolution
    #: The workspaces in which the operator may decide.
    visible: tuple[str, ...]
    http_request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The decision is written."""

    batch_key: UUID
    request_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotResolvable:
    """The batch does not wait for an operator, or not any more."""

    state: BatchState


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSuchBatch:
    """There is none of this id that the operator may see."""


ResolveOutcome = Resolved | NotResolvable | NoSuchBatch | Invalid


async def resolve(deps: Deps, order: Order) -> ResolveOutcome:
    """Write a decision, wake those who wait for its requests, and have a batch that is to be resent looked at.

    Raises:
        DatabaseUnavailable: it is not known to be written; asking again tells.
    """
    outcome = await _write(deps, order)
    if isinstance(outcome, Resolved):
        decision = order.resolution.decision
        log.info(
            LogEvent.BATCH_RESOLVED,
            batch_id=str(order.batch_id),
            decision=decision.value,
            actor=order.resolution.resolved_by,
        )
        deps.changes.tell(outcome.request_ids)
        if decision is Decision.RESEND:
            await ring_now(deps.doorbells, outcome.batch_key)
    return outcome


async def _write(deps: Deps, order: Order) -> ResolveOutcome:
    """Write a decision; again where the answer to its commit was lost: it then finds itself."""
    give_up_at = time.monotonic() + _TRY_AGAIN_WITHIN_SECONDS
    while True:
        try:
            return await deps.database.transact(lambda connection: write_decision(connection, order))
        except DatabaseUnavailable:
            if time.monotonic() >= give_up_at:
                raise
        await asyncio.sleep(_RETRY_PAUSE_SECONDS)


async def write_decision(connection: Connection, order: Order) -> ResolveOutcome:
    """Write a decision in this transaction, if the batch still waits for one."""
    batch = await resolving.lock_batch(connection, order.batch_id, visible=order.visible)
    if batch is None:
        return NoSuchBatch()
    attempt = await resolving.last_attempt(connection, batch.batch_id)
    if batch.state is not BatchState.NEEDS_ATTENTION or attempt is None:
        return await _find_itself(connection, order, batch)
    package_id = order.resolution.release_package_id
    if package_id is not None:
        owner = await resolving.owner_of_package(connection, batch, package_id)
        if owner is not None:
            return package_taken(package_id, owner)
    request_ids = await _carry_out(connection, order, batch, attempt)
    return Resolved(batch_key=batch.batch_key, request_ids=tuple(request_ids))


async def _find_itself(connection: Connection, order: Order, batch: LockedBatch) -> Resolved | NotResolvable:
    """Tell this very decision, written before without an answer, from another's."""
    if not await resolving.is_resolved_by(connection, batch.batch_id, order.resolution.resolution_id):
        return NotResolvable(state=batch.state)
    request_ids = await resolving.requests_of_batch(connection, batch.batch_id)
    return Resolved(batch_key=batch.batch_key, request_ids=tuple(request_ids))


async def _carry_out(
    connection: Connection, order: Order, batch: LockedBatch, attempt: LastAttempt
) -> list[UUID]:
    conclusion = conclusion_of(order.resolution, last_words=attempt.words)
    await resolving.resolve_batch(
        connection,
        batch,
        attempt_number=attempt.number,
        conclusion=conclusion,
        resolution=order.resolution.evidence,
    )
    await audit_log.record(connection, _entry_of(order, batch, conclusion))
    return await progress.follow_batches(
        connection, [batch.batch_id], attempt=attempt.number, detail=_detail(order.resolution, conclusion)
    )


def _detail(resolution: Resolution, conclusion: Conclusion) -> dict[str, object]:
    detail: dict[str, object] = {
        "outcome": conclusion.batch_state.value,
        "decision": resolution.decision.value,
        "resolved_by": resolution.resolved_by,
    }
    if conclusion.release_package_id is not None:
        detail["release_package_id"] = conclusion.release_package_id
    if conclusion.error is not None:
        detail["error"] = error_json(conclusion.error)
    return detail


def _entry_of(order: Order, batch: LockedBatch, conclusion: Conclusion) -> AuditEntry:
    before: Mapping[str, Any] = {"state": batch.state.value, "error": batch.error}
    after: Mapping[str, Any] = {
        "state": conclusion.batch_state.value,
        "error": error_json(conclusion.error),
        "decision": order.resolution.decision.value,
        "release_package_id": conclusion.release_package_id,
    }
    return AuditEntry(
        actor=order.resolution.resolved_by,
        action="batch.resolved",
        target=str(batch.batch_id),
        project_id=batch.project_id,
        workspace=batch.workspace,
        reason=order.resolution.reason,
        before=before,
        after=after,
        http_request_id=order.http_request_id,
    )
