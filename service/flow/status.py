"""Tells callers where their request stands.

Takes: a request's id and the workspaces that the caller may read.
Leaves: nothing; it only reads what settle wrote.
If it dies here: the caller asks again.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.core.model import Event, RequestState, WaitReason
from service.deps import Deps
from service.gateways.store import batch_reading, reading, request_lists
from service.gateways.store.batch_reading import BatchView
from service.gateways.store.changes import is_set_within
from service.gateways.store.database import Connection
from service.gateways.store.reading import RequestView

_EVENTS_AT_ONCE = 200
#: How soon a caller that has gone is noticed.
_IS_THERE_EVERY_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a request waits for, and until when as far as that is known."""

    reason: WaitReason | None
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a caller waits, and whether it is still there."""

    within: timedelta
    is_there: Callable[[], bool]


async def find_request(deps: Deps, request_id: UUID, *, visible: tuple[str, ...]) -> RequestView | None:
    """Return a request, or None where the caller sees none of this id."""
    return await deps.database.read(
        lambda connection: reading.find_request(connection, request_id, visible=visible)
    )


async def find_requests(
    deps: Deps, request_ids: Sequence[UUID], *, visible: tuple[str, ...]
) -> Mapping[UUID, RequestView]:
    """Return those of the requests that the caller sees, by their ids."""
    return await deps.database.read(
        lambda connection: request_lists.find_requests(connection, request_ids, visible=visible)
    )


async def wait_for_change(
    deps: Deps, request_id: UUID, *, visible: tuple[str, ...], patience: Patience, since: int
) -> None:
    """Return when the request is done or has moved on from version ``since``, or when the patience is at its end."""

    def has_moved(version: int, state: RequestState) -> bool:
        return state.is_done or version > since

    await _wait_until(deps, request_id, has_moved, visible=visible, patience=patience)


async def wait_until_done(
    deps: Deps, request_id: UUID, *, visible: tuple[str, ...], patience: Patience
) -> None:
    """Return when the request is done, or when the patience is at its end."""

    def is_done(_version: int, state: RequestState) -> bool:
        return state.is_done

    await _wait_until(deps, request_id, is_done, visible=visible, patience=patience)


async def _wait_until(
    deps: Deps,
    request_id: UUID,
    is_enough: Callable[[int, RequestState], bool],
    *,
    visible: tuple[str, ...],
    patience: Patience,
) -> None:
    within = patience.within.total_seconds()
    try:
        async with asyncio.timeout(within), deps.changes.watch(request_id) as changed:
            changed.set()
            while patience.is_there() and not deps.changes.is_closing:
                if await is_set_within(changed, _IS_THERE_EVERY_SECONDS):
                    changed.clear()
                    found = await find_version(deps, request_id, visible)
                    if found is None or is_enough(*found):
                        return
    except TimeoutError:
        return


async def find_version(
    deps: Deps, request_id: UUID, visible: tuple[str, ...]
) -> tuple[int, RequestState] | None:
    """Return the version and state of a request, or None where the caller sees none of this id."""
    return await deps.database.read(
        lambda connection: reading.find_version(connection, request_id, visible=visible)
    )


async def find_events(
    deps: Deps, request_id: UUID, *, visible: tuple[str, ...], after: int, limit: int
) -> list[Event] | None:
    """Return a page of a request's timeline, or None where the caller sees no such request."""

    async def work(connection: Connection) -> list[Event] | None:
        if await reading.find_version(connection, request_id, visible=visible) is None:
            return None
        return await reading.events_of_request(connection, request_id, after=after, limit=limit)

    return await deps.database.read(work)


async def follow_events(
    deps: Deps, request_id: UUID, *, visible: tuple[str, ...], after: int, quiet: timedelta
) -> AsyncGenerator[list[Event], None]:
    """Yield the events behind ``after`` as they come, until the request is done or the process ends.

    After each ``quiet`` time without one, and whenever the caller has to be looked at again, it yields an empty list.
    """
    async with deps.changes.watch(request_id) as changed:
        while not deps.changes.is_closing:
            changed.clear()
            events = await find_events(deps, request_id, visible=visible, after=after, limit=_EVENTS_AT_ONCE)
            if events is None:
                return
            yield events
            if events:
                after = events[-1].seq
                if events[-1].state.is_done and len(events) < _EVENTS_AT_ONCE:
                    return
            if len(events) < _EVENTS_AT_ONCE:
                await is_set_within(changed, quiet.total_seconds())


async def find_batch(deps: Deps, batch_id: UUID, *, visible: tuple[str, ...]) -> BatchView | None:
    """Return a batch with members and attempts, or None where the caller sees none of this id."""
    return await deps.database.read(
        lambda connection: batch_reading.find_batch(connection, batch_id, visible=visible)
    )


def what_it_waits_for(request: RequestView, *, now: datetime | None = None) -> Wait:
    """Say what holds a request back, from its own row, its key's hold, and its batches."""
    moment = now or datetime.now(UTC)
    match request.state:
        case RequestState.ACCEPTED:
            return _wait_of_accepted(request, moment)
        case RequestState.BATCHED | RequestState.IN_DOUBT:
            waits = [item for item in request.items if item.batch_wait_reason is not None]
            if not waits:
                return Wait(reason=None, until=None)
            if request.is_paused and any(
                item.batch_wait_reason is not WaitReason.RECONCILING for item in waits
            ):
                return Wait(reason=WaitReason.PAUSED, until=None)
            first = min(waits, key=lambda item: item.batch_not_before or moment)
            if request.hold is not None and (first.batch_not_before or moment) <= moment:
                return Wait(reason=request.hold.reason, until=request.hold.until)
            return Wait(reason=first.batch_wait_reason, until=first.batch_not_before)
        case _:
            return Wait(reason=None, until=None)


def _wait_of_accepted(request: RequestView, now: datetime) -> Wait:
    if request.hold is not None and not request.is_paused:
        return Wait(reason=request.hold.reason, until=request.hold.until)
    due = min(item.due_from or now for item in request.items)
    return wait_of_newcomer(is_paused=request.is_paused, begins_at=due, now=now)


def wait_of_newcomer(*, is_paused: bool, begins_at: datetime | None, now: datetime) -> Wait:
    """Say what holds a request back that nobody has looked at yet."""
    if is_paused:
        return Wait(reason=WaitReason.PAUSED, until=None)
    return Wait(
        reason=WaitReason.WINDOW_OPEN, until=begins_at if begins_at is not None and begins_at > now else None
    )
