"""Reads a batch with its members and every call that was made for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, Self
from uuid import UUID

from asyncpg import Record

from service.core.model import AttemptOutcome, BatchState, ClosedBy, ItemState, WaitReason
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """One item of a batch and the request that asked for it."""

    request_id: UUID
    pending_item_id: str
    state: ItemState
    is_attached: bool

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Read a row of ``MEMBERS_OF_BATCH``."""
        return cls(
            request_id=row["request_id"],
            pending_item_id=row["pending_item_id"],
            state=ItemState(row["state"]),
            is_attached=row["is_attached"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One vendor call for a batch."""

    number: int
    epoch: int
    outcome: AttemptOutcome | None
    started_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None
    http_status: int | None
    error_code: str | None
    error_msg: str | None
    vendor_request_id: str | None
    manual: bool
    evidence: Any

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Read a row of ``ATTEMPTS_OF_BATCH``."""
        values: dict[str, Any] = dict(row)
        values["outcome"] = AttemptOutcome(row["outcome"]) if row["outcome"] else None
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """A batch as an operator sees it."""

    batch_id: UUID
    state: BatchState
    project_id: str
    workspace: str
    apply_user_id: str
    approver_ids: tuple[str, ...]
    package_name: str
    parent_id: UUID | None
    closed_by: ClosedBy
    item_count: int
    epoch: int
    worker: str | None
    lease_expires_at: datetime | None
    counted_attempts: int
    not_before: datetime | None
    wait_reason: WaitReason | None
    release_package_id: str | None
    error: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    members: tuple[MemberView, ...]
    attempts: tuple[AttemptView, ...]

    @classmethod
    def from_rows(
        cls, row: Record | Mapping[str, Any], members: Sequence[Record] = (), attempts: Sequence[Record] = ()
    ) -> Self:
        """Read a row of ``batch_columns``, with its members and attempts where they are read too."""
        values: dict[str, Any] = dict(row)
        values["batch_id"] = values.pop("id")
        values["state"] = BatchState(row["state"])
        values["closed_by"] = ClosedBy(row["closed_by"])
        values["wait_reason"] = WaitReason(row["wait_reason"]) if row["wait_reason"] else None
        values["approver_ids"] = tuple(row["approver_ids"])
        return cls(
            **values,
            members=tuple(MemberView.from_row(member) for member in members),
            attempts=tuple(AttemptView.from_row(attempt) for attempt in attempts),
        )


_COLUMNS: LiteralString = """
    b.id, b.state, b.project_id, b.workspace, b.apply_user_id, b.approver_ids, b.package_name, b.parent_id,
    b.closed_by, b.item_count, b.epoch, b.worker, b.lease_expires_at, b.counted_attempts, b.not_before, b.wait_reason,
    b.release_package_id, b.error, b.created_at, b.updated_at, b.finished_at
"""


def batch_columns() -> LiteralString:
    """Return the columns of a batch ``b`` that ``BatchView.from_rows`` reads."""
    return _COLUMNS


FIND_BATCH: LiteralString = """
SELECT BATCH_COLUMNS
FROM batches AS b
WHERE b.id = $1 AND b.project_id || '/' || b.workspace LIKE ANY($2::text[])
""".replace("BATCH_COLUMNS", _COLUMNS)

MEMBERS_OF_BATCH: LiteralString = """
SELECT i.request_id, i.pending_item_id, i.state, i.holder_id IS NOT NULL AS is_attached
FROM release_items AS i
WHERE i.batch_id = $1
ORDER BY i.id
"""

ATTEMPTS_OF_BATCH: LiteralString = """
SELECT
    a.number, a.epoch, a.outcome, a.started_at, a.sent_at, a.finished_at, a.http_status, a.error_code,
    a.error_msg, a.vendor_request_id, a.manual, a.evidence
FROM attempts AS a
WHERE a.batch_id = $1
ORDER BY a.number
"""


async def find_batch(connection: Connection, batch_id: UUID, *, visible: Sequence[str]) -> BatchView | None:
    """Return a batch with members and attempts, or None where there is none in the visible workspaces."""
    row = await connection.fetchrow(FIND_BATCH, batch_id, visible)
    if row is None:
        return None
    members = await connection.fetch(MEMBERS_OF_BATCH, batch_id)
    attempts = await connection.fetch(ATTEMPTS_OF_BATCH, batch_id)
    return BatchView.from_rows(row, members, attempts)
