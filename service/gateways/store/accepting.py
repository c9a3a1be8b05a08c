"""Writes new release requests, many at once, and settles who was first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, Self
from uuid import UUID

import orjson
from asyncpg import Record

from service.core.submission import Submission
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """A valid release request with its id, about to be written."""

    request_id: UUID
    caller: str
    idempotency_key: str | None
    traceparent: str | None
    submission: Submission
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRef:
    """One item of a request that is about to be written."""

    request: NewRequest
    position: int

    @property
    def pending_item_id(self) -> str:
        """The vendor's id of the item."""
        return self.request.submission.pending_item_ids[self.position]

    @property
    def place(self) -> tuple[str, str, str]:
        """Project, workspace and item: what only one live row may hold."""
        key = self.request.submission.key
        return key.project_id, key.workspace, self.pending_item_id


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """The request that already has an idempotency key."""

    caller: str
    idempotency_key: str
    request_id: UUID
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The live or released row that holds a pending item, and for whom."""

    item_id: int
    request_id: UUID
    project_id: str
    workspace: str
    pending_item_id: str
    apply_user_id: str
    approver_ids: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Read a row of ``FIND_HOLDERS``."""
        return cls(
            item_id=row["id"],
            request_id=row["request_id"],
            project_id=row["project_id"],
            workspace=row["workspace"],
            pending_item_id=row["pending_item_id"],
            apply_user_id=row["apply_user_id"],
            approver_ids=tuple(row["approver_ids"]),
        )


# Requests in the order of their keys: two processes that insert the same keys wait for each other, never crosswise.
INSERT_REQUESTS: LiteralString = """
WITH given AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::uuid[], $11::priority[], $12::timestamptz[], $13::timestamptz[], $14::text[],
        $15::text[], $16::text[], $17::integer[]
    ) AS g (
        id, caller, idempotency_key, body_digest, project_id, workspace, apply_user_id, approver_ids,
        package_name, batch_key, priority, not_before, deadline, labels, note, traceparent, item_count
    )
), inserted AS (
    INSERT INTO release_requests (
        id, caller, idempotency_key, body_digest, project_id, workspace, apply_user_id, approver_ids,
        package_name, batch_key, priority, not_before, deadline, labels, note, traceparent, item_count
    )
    SELECT
        id, caller, idempotency_key, body_digest, project_id, workspace, apply_user_id,
        string_to_array(approver_ids, ','),
        package_name, batch_key, priority, not_before, deadline, labels::jsonb, note, traceparent, item_count
    FROM given
    ORDER BY caller, idempotency_key
    ON CONFLICT DO NOTHING
    RETURNING id, created_at
), recorded AS (
    INSERT INTO request_events (request_id, seq, type, state)
    SELECT id, 1, 'request.accepted', 'accepted' FROM inserted
)
SELECT id, created_at FROM inserted
"""


async def insert_requests(connection: Connection, requests: Sequence[NewRequest]) -> dict[UUID, datetime]:
    """Insert the requests whose ids and keys are new; return when each of those was created."""
    columns = zip(*(_request_row(request) for request in requests), strict=True)
    rows = await connection.fetch(INSERT_REQUESTS, *(list(column) for column in columns))
    return {row["id"]: row["created_at"] for row in rows}


def _request_row(request: NewRequest) -> tuple[object, ...]:
    submission = request.submission
    return (
        request.request_id,
        request.caller,
        request.idempotency_key,
        request.digest,
        submission.key.project_id,
        submission.key.workspace,
        submission.key.apply_user_id,
        ",".join(submission.approver_ids),
        submission.key.package_name,
        submission.key.digest,
        submission.priority,
        submission.not_before,
        submission.deadline,
        orjson.dumps(submission.labels).decode(),
        submission.note,
        request.traceparent,
        len(submission.pending_item_ids),
    )


# Holders in the order of the items, for the same reason; an item that is held already is left out.
INSERT_HOLDERS: LiteralString = """
INSERT INTO release_items (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, deadline
)
SELECT
    g.request_id, g.position, g.project_id, g.workspace, g.pending_item_id, g.batch_key, g.priority,
    greatest(now(), g.not_before), g.deadline
FROM unnest(
    $1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::priority[],
    $8::timestamptz[], $9::timestamptz[]
) AS g (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, not_before, deadline
)
ORDER BY g.project_id, g.workspace, g.pending_item_id
ON CONFLICT (project_id, workspace, pending_item_id)
WHERE holder_id IS NULL AND state NOT IN ('rejected', 'failed', 'cancelled', 'expired')
DO NOTHING
RETURNING request_id, position
"""


async def insert_holders(connection: Connection, items: Sequence[ItemRef]) -> set[tuple[UUID, int]]:
    """Insert the items that nobody holds; return (request id, position) of those."""
    columns = zip(*(_holder_row(item) for item in items), strict=True)
    rows = await connection.fetch(INSERT_HOLDERS, *(list(column) for column in columns))
    return {(row["request_id"], row["position"]) for row in rows}


def _holder_row(item: ItemRef) -> tuple[object, ...]:
    submission = item.request.submission
    return (
        item.request.request_id,
        item.position,
        submission.key.project_id,
        submission.key.workspace,
        item.pending_item_id,
        submission.key.digest,
        submission.priority,
        submission.not_before,
        submission.deadline,
    )


# Those of these requests that are there already.
FIND_CREATED: LiteralString = "SELECT id, created_at FROM release_requests WHERE id = ANY($1::uuid[])"


async def find_created(connection: Connection, request_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Return when each of the requests that are there was created."""
    rows = await connection.fetch(FIND_CREATED, request_ids)
    return {row["id"]: row["created_at"] for row in rows}


# The requests that already have these keys.
FIND_KEYS: LiteralString = """
SELECT r.id, r.caller, r.idempotency_key, r.body_digest
FROM unnest($1::text[], $2::text[]) AS g (caller, idempotency_key)
JOIN release_requests AS r ON r.caller = g.caller AND r.idempotency_key = g.idempotency_key
"""


async def find_keys(connection: Connection, keys: Iterable[tuple[str, str]]) -> list[StoredKey]:
    """Return the requests that hold the given (caller, idempotency key) pairs."""
    pairs = list(keys)
    rows = await connection.fetch(FIND_KEYS, [caller for caller, _ in pairs], [key for _, key in pairs])
    return [
        StoredKey(
            caller=row["caller"],
            idempotency_key=row["idempotency_key"],
            request_id=row["id"],
            digest=row["body_digest"],
        )
        for row in rows
    ]


# The holders of items, locked so that none can change state before the rows that attach to them are there.
FIND_HOLDERS: LiteralString = """
SELECT
    i.id, i.request_id, i.project_id, i.workspace, i.pending_item_id, r.apply_user_id,
    ARRAY(SELECT a FROM unnest(r.approver_ids) AS a ORDER BY a COLLATE "C") AS approver_ids
FROM unnest($1::text[], $2::text[], $3::text[]) AS g (project_id, workspace, pending_item_id)
JOIN release_items AS i
    ON i.project_id = g.project_id AND i.workspace = g.workspace AND i.pending_item_id = g.pending_item_id
    AND i.holder_id IS NULL AND i.state NOT IN ('rejected', 'failed', 'cancelled', 'expired')
JOIN release_requests AS r ON r.id = i.request_id
ORDER BY i.id
FOR SHARE OF i
"""


async def find_holders(connection: Connection, items: Sequence[ItemRef]) -> list[Holder]:
    """Return and lock the rows that hold the given items."""
    keys = [item.request.submission.key for item in items]
    rows = await connection.fetch(
        FIND_HOLDERS,
        [key.project_id for key in keys],
        [key.workspace for key in keys],
        [item.pending_item_id for item in items],
    )
    return [Holder.from_row(row) for row in rows]


# Rows that share the fate of a holder, starting from where it stands.
INSERT_ATTACHED: LiteralString = """
INSERT INTO release_items (
    request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, deadline,
    holder_id, batch_id, state, error
)
SELECT
    g.request_id, g.position, h.project_id, h.workspace, h.pending_item_id, g.batch_key, g.priority,
    greatest(now(), g.not_before), g.deadline, h.id, h.batch_id, h.state, h.error
FROM unnest(
    $1::bigint[], $2::uuid[], $3::smallint[], $4::uuid[], $5::priority[], $6::timestamptz[], $7::timestamptz[]
) AS g (holder_id, request_id, position, batch_key, priority, not_before, deadline)
JOIN release_items AS h ON h.id = g.holder_id
"""


async def insert_attached(connection: Connection, items: Sequence[tuple[ItemRef, Holder]]) -> None:
    """Attach items to the rows that hold them."""
    columns = zip(*(_attached_row(item, holder) for item, holder in items), strict=True)
    await connection.execute(INSERT_ATTACHED, *(list(column) for column in columns))


def _attached_row(item: ItemRef, holder: Holder) -> tuple[object, ...]:
    submission = item.request.submission
    return (
        holder.item_id,
        item.request.request_id,
        item.position,
        submission.key.digest,
        submission.priority,
        submission.not_before,
        submission.deadline,
    )


# Takes back requests of this very transaction that cannot stand.
WITHDRAW_REQUESTS: LiteralString = "DELETE FROM release_requests WHERE id = ANY($1::uuid[])"


async def withdraw_requests(connection: Connection, request_ids: Sequence[UUID]) -> None:
    """Delete requests that this transaction inserted, with their items and events."""
    await connection.execute(WITHDRAW_REQUESTS, request_ids)
