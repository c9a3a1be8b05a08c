"""Looks at a batch key, and says when to look next.

Takes: a batch key.
Leaves: the wish for a doorbell, which the caller rings.
If it dies here: the sweep rings for what has been due for too long.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from service.core.model import WaitReason
from service.core.planning import Close, KeepOpen, closing_times, decide_window
from service.deps import WorkerDeps
from service.gateways.doorbells import PUT_OFF_WITHIN, Ring
from service.gateways.store import lanes
from service.gateways.store.lanes import Lane

#: So many batches are counted of what waits: of one that is full it is told whether the next one is.
_BATCHES_SEEN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a doorbell, as far as it says when to look next."""

    #: Whether a call was made, whose place among the calls at once is free now.
    has_called: bool = False
    #: What the key looked like, where nothing of it was changed.
    lane: Lane | None = None
    #: Whether something may wait under the key. What came since has doorbells of its own.
    has_more: bool = True


async def look_at(deps: WorkerDeps, batch_key: UUID) -> Lane:
    """Read what waits under a key."""
    async with deps.database.connection() as connection:
        return await lanes.look(
            connection, batch_key, max_items=_BATCHES_SEEN * deps.settings.batch_max_items
        )


def ring_for_the_rest(lane: Lane, batch_key: UUID, deps: WorkerDeps) -> Ring | None:
    """Say when to look at what a full batch leaves; None where it leaves nothing: what comes has a doorbell of its own.

    It is rung for when the batch is claimed, so that the rest does not wait for the batch's call.
    """
    window = lane.window(deps.settings.window)
    waiting = lane.waiting
    if waiting is None or waiting.count >= _most_counted(lane, deps):
        return Ring(batch_key=batch_key, delay=timedelta(0))
    if waiting.count <= window.max_items:
        return None
    closes_at = min(at for _, at in closing_times(waiting, window))
    return Ring(batch_key=batch_key, delay=closes_at - lane.now, latest=min(window.linger, PUT_OFF_WITHIN))


def _most_counted(lane: Lane, deps: WorkerDeps) -> int:
    return lane.governance.own.max_items or _BATCHES_SEEN * deps.settings.batch_max_items


async def ring_after(deps: WorkerDeps, batch_key: UUID, answer: Answer) -> Ring | None:
    """Say when to look next at a key, where something of it waits. A lane that was just read is not read again.

    What is put off, such as a batch between attempts, must not keep new items of its key waiting. Only a hold does,
    and an open window, which they prolong. A key that waits for a place among the calls at once may have the one that
    its own call has just left.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    lane = answer.lane or await look_at(deps, batch_key)
    put_off_to = _put_off_to(lane)
    window = _open_window(lane, deps)
    moments = [moment for moment in (put_off_to, window.until if window else None) if moment is not None]
    if not moments:
        return None
    if answer.has_called and lane.held_for is WaitReason.CONCURRENCY and min(moments) <= lane.now:
        return Ring.at_once(batch_key)
    moment = max(min(moments), lane.held_until or lane.now)
    delay = moment - lane.now
    if window is not None and moment == window.until:
        latest = min(window.latest, put_off_to or window.latest) - lane.now
        return Ring(batch_key=batch_key, delay=delay, latest=min(latest, PUT_OFF_WITHIN))
    if moment == put_off_to and moment > lane.now:
        return Ring.later(batch_key, delay=delay)
    return Ring(batch_key=batch_key, delay=delay)


def _put_off_to(lane: Lane) -> datetime | None:
    """Tell when the first of what is put off is due. What is paused is rung for when it is resumed."""
    sent = () if lane.is_paused else (lane.next_due, lane.sealed_from)
    return min((moment for moment in (*sent, lane.refused_from) if moment is not None), default=None)


def _open_window(lane: Lane, deps: WorkerDeps) -> KeepOpen | None:
    """Tell when the window over what waits closes; None where nothing waits, or what waits is paused."""
    if lane.waiting is None or lane.is_paused:
        return None
    match decide_window(lane.waiting, lane.window(deps.settings.window), now=lane.now):
        case Close():
            return KeepOpen(until=lane.now, latest=lane.now)
        case KeepOpen() as window:
            return window
