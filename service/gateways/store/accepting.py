"""Writes new release requests, many at once, and settles who was first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import orjson

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
class StoredKey:
    """The request that already has an idempotency key."""

    caller: str
    idempotency_key: str
    request_id: UUID
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A request that is new, and those of its items that could be inserted; None where that is all of them."""

    at: datetime
    held: frozenset[int] | None


# Keys in their order, then items in theirs: two processes that insert the same wait for each other, never crosswise. A
# request whose key is there already is left out, and so is an item that is held.
#
# They come as one JSON text: of arrays asyncpg looks at every element several times.
INSERT_REQUESTS: LiteralString = """
WITH given AS (
    SELECT
        id, caller, idempotency_key, body_digest, project_id, workspace, apply_user_id, approver_ids,
        package_name, batch_key, priority, not_before, deadline, labels, note, traceparent, items
    FROM json_to_recordset($1::json) AS g (
        id uuid, caller text, idempotency_key text, body_digest text, project_id text, workspace text,
        apply_user_id text, approver_ids text[], package_name text, batch_key uuid, priority priority,
        not_before timestamptz, deadline timestamptz, labels jsonb, note text, traceparent text, items text[]
    )
), keyed AS (
    INSERT INTO idempotency_keys (idempotency_key, caller, request_id)
    SELECT idempotency_key, caller, id FROM given
    WHERE idempotency_key IS NOT NULL
    ORDER BY caller, idempotency_key
    ON CONFLICT DO NOTHING
    RETURNING request_id
), inserted AS (
    INSERT INTO release_requests (
        id, caller, idempotency_key, body_digest, project_id, workspace, apply_user_id, approver_ids,
        package_name, batch_key, priority, not_before, deadline, labels, note, traceparent, item_count
    )
    SELECT
        id, caller, idempotency_key, decode(body_digest, 'hex'), project_id, workspace, apply_user_id, approver_ids,
        package_name, batch_key, priority, not_before, deadline, labels, note, traceparent, cardinality(items)
    FROM given
    WHERE idempotency_key IS NULL OR id IN (SELECT k.request_id FROM keyed AS k)
    ON CONFLICT DO NOTHING
    RETURNING id, created_at, item_count
), recorded AS (
    INSERT INTO request_events (request_id, seq, type, state)
    SELECT id, 1, 'request.accepted', 'accepted' FROM inserted
), holding AS (
    INSERT INTO item_holders (pending_item_id, project_id, workspace, request_id, position)
    SELECT i.pending_item_id, g.project_id, g.workspace, g.id, i.place - 1
    FROM inserted
    JOIN given AS g ON g.id = inserted.id
    CROSS JOIN unnest(g.items) WITH ORDINALITY AS i (pending_item_id, place)
    ORDER BY g.project_id, g.workspace, i.pending_item_id
    ON CONFLICT DO NOTHING
    RETURNING request_id, position
), counted AS (
    SELECT request_id, array_agg(position ORDER BY position) AS positions FROM holding GROUP BY request_id
), held AS (
    INSERT INTO release_items (
        request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, deadline
    )
    SELECT
        g.id, p.position, g.project_id, g.workspace, g.items[p.position + 1], g.batch_key, g.priority,
        greatest(now(), g.not_before), g.deadline
    FROM counted AS c
    JOIN given AS g ON g.id = c.request_id
    CROSS JOIN unnest(c.positions) AS p (position)
)
SELECT
    n.id, n.created_at,
    CASE WHEN n.item_count > coalesce(cardinality(c.positions), 0) THEN coalesce(c.positions, '{}') END AS held
FROM inserted AS n
LEFT JOIN counted AS c ON c.request_id = n.id
"""


async def insert_requests(connection: Connection, requests: Sequence[NewRequest]) -> dict[UUID, Created]:
    """Insert the requests whose ids and keys are new, with those of their items that nobody holds."""
    given = orjson.dumps([_members_of(request) for request in requests]).decode()
    rows = await connection.fetch(INSERT_REQUESTS, given)
    return {
        request_id: Created(at=created_at, held=None if held is None else frozenset(held))
        for request_id, created_at, held in rows
    }


def _members_of(request: NewRequest) -> dict[str, object]:
    submission = request.submission
    key = submission.key
    return {
        "id": request.request_id,
        "caller": request.caller,
        "idempotency_key": request.idempotency_key,
        "body_digest": request.digest.hex(),
        "project_id": key.project_id,
        "workspace": key.workspace,
        "apply_user_id": key.apply_user_id,
        "approver_ids": submission.approver_ids,
        "package_name": key.package_name,
        "batch_key": key.digest,
        "priority": submission.priority,
        "not_before": submission.not_before,
        "deadline": submission.deadline,
        "labels": submission.labels,
        "note": submission.note,
        "traceparent": request.traceparent,
        "items": submission.pending_item_ids,
    }


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
JOIN idempotency_keys AS k ON k.caller = g.caller AND k.idempotency_key = g.idempotency_key
JOIN release_requests AS r ON r.id = k.request_id
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


# Takes back requests of this very transaction that cannot stand.
WITHDRAW_REQUESTS: LiteralString = "DELETE FROM release_requests WHERE id = ANY($1::uuid[])"


async def withdraw_requests(connection: Connection, request_ids: Sequence[UUID]) -> None:
    """Delete requests that this transaction inserted, with their items and events."""
    await connection.execute(WITHDRAW_REQUESTS, request_ids)
