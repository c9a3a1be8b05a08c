"""When a window closes, and what the batch is called. Pure: the caller brings the facts and the time."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from service.core.model import ClosedBy

#: Items that have been due for longer are taken whatever their priority is: half of each batch is theirs.
OVERTAKEN_FOR = timedelta(seconds=30)
#: The most items that the vendor takes in one package (user guide, "Releasing a Job Task").
VENDOR_MAX_ITEMS = 100
#: A window closes this much before its linger or deadline, so that the call itself still falls inside it.
CLOSING_MARGIN = timedelta(milliseconds=150)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_STEM_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The three knobs of batching."""

    max_items: int
    quiet: timedelta
    linger: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits under one batch key: the first ``max_items`` of it, in the order in which it will be taken."""

    count: int
    oldest: datetime
    newest: datetime
    nearest_deadline: datetime | None
    #: When an operator last had the windows of the workspace closed.
    flushed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """The window closes now."""

    closed_by: ClosedBy


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepOpen:
    """The window stays open; it will close at this time if nothing else comes."""

    until: datetime
    #: When it will close, whatever comes.
    latest: datetime


WindowDecision = Close | KeepOpen


def decide_window(waiting: Waiting, window: Window, *, now: datetime) -> WindowDecision:
    """Close a window that is full, has been quiet, has lingered, or has a deadline that will not wait."""
    if waiting.count >= window.max_items:
        return Close(closed_by=ClosedBy.SIZE)
    closings = closing_times(waiting, window)
    closed_by, at = min(closings, key=lambda closing: closing[1])
    if at <= now:
        return Close(closed_by=closed_by)
    return KeepOpen(until=at, latest=min(at for closed_by, at in closings if closed_by is not ClosedBy.QUIET))


def closing_times(waiting: Waiting, window: Window) -> list[tuple[ClosedBy, datetime]]:
    """Return when each rule would close the window, the most usual rule first."""
    margin = min(CLOSING_MARGIN, window.linger / 2)
    times = [
        (ClosedBy.QUIET, waiting.newest + window.quiet),
        (ClosedBy.LINGER, waiting.oldest + window.linger - margin),
    ]
    if waiting.nearest_deadline is not None:
        # Three margins: a call that is made at the deadline itself would come too late.
        times.append((ClosedBy.DEADLINE, waiting.nearest_deadline - 3 * CLOSING_MARGIN))
    if waiting.flushed_at is not None and waiting.oldest <= waiting.flushed_at:
        times.append((ClosedBy.FLUSH, waiting.flushed_at))
    return times


def share_of_overtaken(max_items: int, *, is_their_turn: bool) -> int:
    """Return how many places of a batch are for items that others have overtaken for too long.

    So they move at half the pace at least, and what is urgent is in the next batch all the same. Batches of one item
    take turns.
    """
    return max_items // 2 if max_items > 1 else int(is_their_turn)


def package_name(batch_id: UUID, *, workspace: str, chosen: str | None) -> str:
    """Return the caller's name as it is, else a name of ours that is unique because it ends in the batch's id.

    The vendor keeps no other identity of ours, so the name is what a reconcile searches for. Its characters are
    those of the product's directory names: letters, digits, ``_`` and ``-``, a letter first.
    """
    if chosen is not None:
        return chosen
    stem = _NOT_IN_NAMES.sub("-", workspace)[:_NAME_STEM_LENGTH]
    return f"release-{stem}-{batch_id.hex}"


def child_name(parent_name: str, *, parent_id: UUID, child_id: UUID) -> str:
    """Return the name of a part of a split batch: a name of ours changes with the id, a chosen one stays."""
    return parent_name.replace(parent_id.hex, child_id.hex)
