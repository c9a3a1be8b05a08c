"""Has many requests cancelled or retried: first shows what would happen, then does it, one request after the other.

Takes: a filter, and an action that somebody ordered.
Leaves: the requests that matched, on record with the operation; each is acted on by a worker, with its own audit entry.
If it dies here: what was done is on record, and another worker goes on.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never
from uuid import UUID

import structlog

from service.core.audit_trail import AuditEntry
from service.core.errors import DatabaseUnavailable
from service.core.operations import MOST_TARGETS, Operation, OperationAction, Progress
from service.core.request_filter import RequestFilter
from service.core.telemetry import LogEvent
from service.deps import Deps
from service.flow.acting import (
    Actor,
    CancelOutcome,
    Done,
    RetryOutcome,
    cancel_within,
    retry_within,
    tell,
)
from service.flow.intake import Intake
from service.gateways.store import audit_log, operations, request_lists
from service.gateways.store.database import Connection
from service.gateways.store.operations import Target
from service.gateways.store.reading import RequestView

_SAMPLE = 10

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an operation would act on: how many requests, and the newest of them."""

    count: int
    sample: tuple[RequestView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TooMany:
    """More requests match than an operation takes."""

    most: int = MOST_TARGETS


@dataclass(frozen=True, slots=True, kw_only=True)
class CountChanged:
    """Other requests match by now than the caller expected."""

    expected: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSuchOperation:
    """There is none of this id that the caller may see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRunning:
    """It has ended already."""

    progress: Progress


async def preview(
    deps: Deps, action: OperationAction, wanted: RequestFilter, *, visible: tuple[str, ...]
) -> Preview | TooMany:
    """Count the requests that an operation would act on; nothing is changed."""

    async def work(connection: Connection) -> Preview | TooMany:
        count = await operations.count_targets(connection, wanted, visible=visible, states=action.states)
        if count > MOST_TARGETS:
            return TooMany()
        ids = await operations.sample_targets(
            connection, wanted, visible=visible, states=action.states, limit=_SAMPLE
        )
        views = await request_lists.find_requests(connection, ids, visible=visible)
        return Preview(count=count, sample=tuple(views[each] for each in ids if each in views))

    return await deps.database.read_one_moment(work)


async def start(
    deps: Deps, operation: Operation, wanted: RequestFilter, *, expected: int
) -> Progress | TooMany | CountChanged:
    """Put an operation on record, where as many requests match as the caller expects; workers carry it out.

    Raises:
        DatabaseUnavailable: it is not known whether it is on record.
    """

    async def work(connection: Connection) -> Progress | TooMany | CountChanged:
        count = await operations.count_targets(
            connection, wanted, visible=operation.visible, states=operation.action.states
        )
        if count > MOST_TARGETS:
            return TooMany()
        if count != expected:
            return CountChanged(expected=expected, count=count)
        await operations.add_operation(connection, operation, wanted, total=count)
        after = {"action": operation.action, "filter": dict(operation.filter), "total": count}
        await audit_log.record(connection, _entry("operation.started", operation, after=after))
        progress = await operations.find_progress(connection, operation.operation_id, owner=None)
        if progress is None:
            raise AssertionError("this transaction has just written it")
        return progress

    return await deps.database.transact(work)


async def find(deps: Deps, operation_id: UUID, *, owner: str | None) -> Progress | None:
    """Return how far an operation has come; with an owner, only one of theirs."""
    return await deps.database.read(
        lambda connection: operations.find_progress(connection, operation_id, owner=owner)
    )


async def abort(deps: Deps, operation_id: UUID, actor: Actor) -> Progress | NoSuchOperation | NotRunning:
    """Stop an operation: requests that were not acted on stay as they are."""

    async def work(connection: Connection) -> Progress | NoSuchOperation | NotRunning:
        has_stopped = await operations.abort(connection, operation_id, owner=actor.owner)
        progress = await operations.find_progress(connection, operation_id, owner=actor.owner)
        if progress is None:
            return NoSuchOperation()
        if not has_stopped:
            return NotRunning(progress=progress)
        done = {"succeeded": progress.succeeded, "skipped": progress.skipped, "total": progress.total}
        await audit_log.record(connection, _abort_entry(progress.operation, actor, after=done))
        return progress

    return await deps.database.transact(work)


async def run_operations(deps: Deps, intake: Intake) -> None:
    """Carry out operations until cancelled; one that fails is gone on with in the next round."""
    while True:
        try:
            while await act_on_next(deps, intake):
                pass
            async with deps.database.connection() as connection:
                await operations.finish_operations(connection)
        except DatabaseUnavailable as error:
            log.warning(LogEvent.OPERATION_FAILED, reason=str(error))
        except Exception:
            log.exception(LogEvent.OPERATION_FAILED)
        await asyncio.sleep(deps.settings.sweep_period.total_seconds())


async def act_on_next(deps: Deps, intake: Intake) -> bool:
    """Act on one request of an operation that runs; tell whether there was one."""

    async def work(connection: Connection) -> CancelOutcome | RetryOutcome | None:
        target = await operations.take_target(connection)
        if target is None:
            return None
        outcome = await _act(connection, target)
        await operations.conclude_target(connection, target, succeeded=isinstance(outcome, Done))
        return outcome

    outcome = await deps.database.transact(work)
    if outcome is None:
        return False
    tell(deps, intake, outcome)
    return True


async def _act(connection: Connection, target: Target) -> CancelOutcome | RetryOutcome:
    operation = target.operation
    actor = Actor(
        name=operation.actor,
        visible=operation.visible,
        owner=None,
        reason=operation.reason,
        http_request_id=operation.http_request_id,
    )
    match operation.action:
        case OperationAction.CANCEL:
            return await cancel_within(connection, target.request_id, actor)
        case OperationAction.RETRY:
            return await retry_within(connection, target.request_id, actor)
        case _:
            assert_never(operation.action)


def _entry(action: str, operation: Operation, *, after: Mapping[str, object]) -> AuditEntry:
    return AuditEntry(
        actor=operation.actor,
        action=action,
        target=str(operation.operation_id),
        project_id=None,
        workspace=None,
        reason=operation.reason,
        before=None,
        after=after,
        http_request_id=operation.http_request_id,
    )


def _abort_entry(operation: Operation, actor: Actor, *, after: Mapping[str, object]) -> AuditEntry:
    return AuditEntry(
        actor=actor.name,
        action="operation.aborted",
        target=str(operation.operation_id),
        project_id=None,
        workspace=None,
        reason=actor.reason,
        before={"state": "running"},
        after={"state": "aborted", **after},
        http_request_id=actor.http_request_id,
    )
