"""Lists operations on many requests, the newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from asyncpg import Record

from service.core.operations import OperationAction, OperationState
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedOperation:
    """An operation in a list: how far it has come is counted for one at a time only."""

    operation_id: UUID
    action: OperationAction
    filter: dict[str, str]
    actor: str
    reason: str
    state: OperationState
    total: int
    created_at: datetime
    finished_at: datetime | None


LIST_OPERATIONS: LiteralString = """
SELECT o.id, o.action, o.filter, o.actor, o.reason, o.state, o.total, o.created_at, o.finished_at
FROM operations AS o
WHERE ($1::text IS NULL OR o.caller = $1) AND ($2::uuid IS NULL OR o.id < $2)
ORDER BY o.id DESC
LIMIT $3
"""


async def list_operations(
    connection: Connection, *, owner: str | None, before: UUID | None, limit: int
) -> Sequence[ListedOperation]:
    """Return some operations from behind the given one; with an owner, only theirs."""
    return [_from_row(row) for row in await connection.fetch(LIST_OPERATIONS, owner, before, limit)]


def _from_row(row: Record) -> ListedOperation:
    return ListedOperation(
        operation_id=row["id"],
        action=OperationAction(row["action"]),
        filter=row["filter"],
        actor=row["actor"],
        reason=row["reason"],
        state=OperationState(row["state"]),
        total=row["total"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
