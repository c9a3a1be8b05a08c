"""Reads what callers may see of release requests: by id, and only in workspaces that the caller may read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, Self
from uuid import UUID

from asyncpg import Record

from service.core.model import Event, ItemState, Priority, RequestState, WaitReason
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """One item of a request, with what its batch says of it."""

    pending_item_id: str
    state: ItemState
    #: Nothing is done for it before, as the request that holds it says; None where that is over.
    due_from: datetime | None
    batch_id: UUID | None
    package_name: str | None
    release_package_id: str | None
    error: dict[str, Any] | None
    batch_wait_reason: WaitReason | None
    batch_not_before: datetime | None
    counted_attempts: int

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Read a row of ``ITEMS_OF_REQUEST``."""
        reason = row["wait_reason"]
        return cls(
            pending_item_id=row["pending_item_id"],
            state=ItemState(row["state"]),
            due_from=row["due_from"],
            batch_id=row["batch_id"],
            package_name=row["package_name"],
            release_package_id=row["release_package_id"],
            error=row["error"],
            batch_wait_reason=WaitReason(reason) if reason else None,
            batch_not_before=row["not_before"],
            counted_attempts=row["counted_attempts"] or 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What holds the waiting items of a batch key back."""

    reason: WaitReason
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """A release request as its caller sees it."""

    request_id: UUID
    state: RequestState
    version: int
    project_id: str
    workspace: str
    apply_user_id: str
    approver_ids: tuple[str, ...]
    package_name: str | None
    priority: Priority
    labels: dict[str, str]
    note: str | None
    error: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    hold: Hold | None
    items: tuple[ItemView, ...]
    #: Whether nothing of its workspace is sent.
    is_paused: bool = False

    @classmethod
    def from_rows(cls, row: Record, items: Sequence[Record]) -> Self:
        """Read a row of ``SELECT_REQUEST`` and the rows of ``ITEMS_OF_REQUEST``."""
        hold = None
        if row["hold_reason"]:
            hold = Hold(reason=WaitReason(row["hold_reason"]), until=row["hold_until"])
        return cls(
            request_id=row["id"],
            state=RequestState(row["state"]),
            version=row["version"],
            project_id=row["project_id"],
            workspace=row["workspace"],
            apply_user_id=row["apply_user_id"],
            approver_ids=tuple(row["approver_ids"]),
            package_name=row["package_name"],
            priority=Priority(row["priority"]),
            labels=row["labels"],
            note=row["note"],
            error=row["error"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            finished_at=row["finished_at"],
            hold=hold,
            items=tuple(ItemView.from_row(item) for item in items),
            is_paused=row["is_paused"],
        )


# A hold counts for a second after its end, so that it does not flicker between two looks.
SELECT_REQUEST: LiteralString = """
SELECT
    r.id, r.state, r.version, r.project_id, r.workspace, r.apply_user_id, r.approver_ids, r.package_name,
    r.priority, r.labels, r.note, r.error, r.created_at, r.updated_at, r.finished_at,
    h.reason AS hold_reason, h.until AS hold_until, w.paused_at IS NOT NULL AS is_paused
FROM release_requests AS r
LEFT JOIN holds AS h
    ON h.batch_key = r.batch_key AND r.state = 'accepted' AND h.until > now() - interval '1 second'
LEFT JOIN workspaces AS w
    ON w.project_id = r.project_id AND w.workspace = r.workspace AND r.finished_at IS NULL
"""

# A request, where it lies in a workspace that matches one of the patterns.
FIND_REQUEST: LiteralString = (
    SELECT_REQUEST
    + """
WHERE r.id = $1 AND r.project_id || '/' || r.workspace LIKE ANY($2::text[])
"""
)

ITEMS_OF_REQUEST: LiteralString = """
SELECT
    i.pending_item_id, i.state, i.batch_id, i.error, b.package_name, b.release_package_id, b.wait_reason,
    b.not_before, b.counted_attempts, d.due_from
FROM release_items AS i
LEFT JOIN release_items AS d ON d.id = coalesce(i.holder_id, i.id) AND d.due_from > now()
LEFT JOIN batches AS b ON b.id = i.batch_id
WHERE i.request_id = $1
ORDER BY i.position
"""


async def find_request(
    connection: Connection, request_id: UUID, *, visible: Sequence[str]
) -> RequestView | None:
    """Return a request with its items, or None where there is none in the visible workspaces."""
    row = await connection.fetchrow(FIND_REQUEST, request_id, visible)
    if row is None:
        return None
    return RequestView.from_rows(row, await connection.fetch(ITEMS_OF_REQUEST, request_id))


# Only whether a request has moved on: what a long poll asks.
FIND_VERSION: LiteralString = """
SELECT r.version, r.state FROM release_requests AS r
WHERE r.id = $1 AND r.project_id || '/' || r.workspace LIKE ANY($2::text[])
"""


async def find_version(
    connection: Connection, request_id: UUID, *, visible: Sequence[str]
) -> tuple[int, RequestState] | None:
    """Return the version and state of a request, or None where there is none in the visible workspaces."""
    row = await connection.fetchrow(FIND_VERSION, request_id, visible)
    return None if row is None else (row["version"], RequestState(row["state"]))


# An event about a call shows what was known of it then: that it begins, or what it came to. No event ever changes.
EVENTS_OF_REQUEST: LiteralString = """
SELECT
    e.seq, e.at, e.type, e.state, e.batch_id, e.attempt,
    CASE
        WHEN a.number IS NULL THEN e.detail
        ELSE e.detail || jsonb_build_object('call', call_in_timeline(a, e.detail ? 'outcome'))
    END AS detail
FROM request_events AS e
LEFT JOIN attempts AS a ON a.batch_id = e.batch_id AND a.number = e.attempt
WHERE e.request_id = $1 AND e.seq > $2
ORDER BY e.seq
LIMIT $3
"""


async def events_of_request(
    connection: Connection, request_id: UUID, *, after: int, limit: int
) -> list[Event]:
    """Return the timeline of a request, oldest first, from behind the given event."""
    rows = await connection.fetch(EVENTS_OF_REQUEST, request_id, after, limit)
    return [
        Event(
            seq=row["seq"],
            at=row["at"],
            type=row["type"],
            state=RequestState(row["state"]),
            batch_id=row["batch_id"],
            attempt=row["attempt"],
            detail=row["detail"],
        )
        for row in rows
    ]
