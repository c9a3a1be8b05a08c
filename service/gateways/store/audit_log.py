"""Writes the audit trail, and reads it; the database itself refuses to change or delete what is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from asyncpg import Record

from service.core.audit_trail import AuditEntry, KeptEntry
from service.core.ids import new_id
from service.gateways.store.database import Connection
from service.gateways.store.request_lists import PLAN_FOR_VALUES

RECORD: LiteralString = """
INSERT INTO audit_log (
    id, actor, action, target, project_id, workspace, reason, before, after, http_request_id
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


async def record(connection: Connection, entry: AuditEntry) -> None:
    """Write an action, in the transaction of the change itself."""
    await connection.execute(
        RECORD,
        new_id(),
        entry.actor,
        entry.action,
        entry.target,
        entry.project_id,
        entry.workspace,
        entry.reason,
        entry.before,
        entry.after,
        entry.http_request_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailFilter:
    """Which entries a reader wants; None is all."""

    action: str | None = None
    target: str | None = None


# The newest first. What belongs to no workspace is for those who may see all of them.
LIST_ENTRIES: LiteralString = """
SELECT
    a.id, a.at, a.actor, a.action, a.target, a.project_id, a.workspace, a.reason, a.before, a.after, a.http_request_id
FROM audit_log AS a
WHERE
    coalesce(a.project_id || '/' || a.workspace, '') LIKE ANY($1::text[])
    AND ($2::text IS NULL OR a.action = $2)
    AND ($3::text IS NULL OR a.target = $3)
    AND ($4::uuid IS NULL OR a.id < $4)
ORDER BY a.id DESC
LIMIT $5
"""


async def list_entries(
    connection: Connection, wanted: TrailFilter, *, visible: Sequence[str], before: UUID | None, limit: int
) -> list[KeptEntry]:
    """Return some entries, the newest first, from behind the given one; in a transaction of the caller's."""
    await connection.execute(PLAN_FOR_VALUES)
    rows = await connection.fetch(LIST_ENTRIES, visible, wanted.action, wanted.target, before, limit)
    return [_kept_from_row(row) for row in rows]


def _kept_from_row(row: Record) -> KeptEntry:
    entry = AuditEntry(
        actor=row["actor"],
        action=row["action"],
        target=row["target"],
        project_id=row["project_id"],
        workspace=row["workspace"],
        reason=row["reason"],
        before=row["before"],
        after=row["after"],
        http_request_id=row["http_request_id"],
    )
    return KeptEntry(entry_id=row["id"], at=row["at"], entry=entry)
