"""Finds what has run out: deadlines of waiting items, whose pending item goes to who is attached, and leases."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from service.core.model import ItemError
from service.gateways.store.batches import error_json
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """The items that expired, and the requests they belong to."""

    item_ids: tuple[int, ...]
    request_ids: tuple[UUID, ...]


# Waiting items past their deadline, also those attached to another, which then goes on without them. What a worker is
# taking at this moment is left to it.
EXPIRE_ITEMS: LiteralString = """
WITH late AS (
    SELECT id FROM release_items
    WHERE batch_id IS NULL AND NOT is_free AND deadline <= now()
    ORDER BY id
    LIMIT 1000
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE release_items AS i SET state = 'expired', error = $1
FROM late AS l
WHERE i.id = l.id
RETURNING i.id, i.request_id
"""


async def expire_items(connection: Connection, *, error: ItemError) -> Expired:
    """End the waiting items whose deadline has passed."""
    rows = await connection.fetch(EXPIRE_ITEMS, error_json(error))
    return Expired(
        item_ids=tuple(row["id"] for row in rows),
        request_ids=tuple(sorted({row["request_id"] for row in rows})),
    )


# The first row attached to an item that ended without a call becomes its holder, and the others attach to that one.
HAND_ON: LiteralString = """
WITH heirs AS (
    SELECT DISTINCT ON (a.holder_id) a.holder_id AS former_id, a.id AS heir_id
    FROM release_items AS a
    WHERE a.holder_id = ANY($1::bigint[]) AND a.state = 'waiting'
    ORDER BY a.holder_id, a.id
)
UPDATE release_items AS i SET holder_id = CASE WHEN i.id = h.heir_id THEN NULL ELSE h.heir_id END
FROM heirs AS h
WHERE
    i.holder_id = h.former_id AND i.state = 'waiting'
    AND i.holder_id = ANY($1::bigint[]) -- or all attached rows are read where statistics are old
RETURNING i.batch_key
"""


async def hand_on(connection: Connection, item_ids: tuple[int, ...]) -> tuple[UUID, ...]:
    """Give the pending items of ended rows to the rows attached to them; return the batch keys of those rows."""
    rows = await connection.fetch(HAND_ON, list(item_ids))
    return tuple({row["batch_key"] for row in rows})


LOCK_GIVEN_REQUESTS: LiteralString = """
SELECT id FROM release_requests WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""


async def lock_requests(connection: Connection, request_ids: tuple[UUID, ...]) -> None:
    """Lock requests in the order of their ids."""
    await connection.execute(LOCK_GIVEN_REQUESTS, list(request_ids))


# A batch whose worker has not come back within its lease: nobody knows whether its call was made.
TAKE_OVER_EXPIRED: LiteralString = """
WITH expired AS (
    SELECT id FROM batches
    WHERE state = 'sending' AND lease_expires_at < now()
    ORDER BY lease_expires_at
    LIMIT 100
    FOR NO KEY UPDATE SKIP LOCKED
), batch AS (
    UPDATE batches AS b SET
        state = 'in_doubt', epoch = epoch + 1, lease_expires_at = NULL, worker = NULL, updated_at = now(),
        counted_attempts = counted_attempts + 1, wait_reason = 'reconciling', error = $1,
        not_before = now() + $2::interval
    FROM expired AS e WHERE b.id = e.id
    RETURNING b.id
), attempt AS (
    UPDATE attempts AS a SET outcome = 'in_doubt', finished_at = now()
    FROM batch AS b WHERE a.batch_id = b.id AND a.outcome IS NULL
), items AS (
    UPDATE release_items AS i SET state = 'in_doubt', error = $1
    FROM batch AS b WHERE i.batch_id = b.id AND i.holder_id IS NULL
)
SELECT id FROM batch
"""


async def take_over_expired(connection: Connection, *, error: ItemError, settle: timedelta) -> Sequence[UUID]:
    """Put batches whose lease has run out in doubt, to be looked at after ``settle``; return their ids."""
    rows = await connection.fetch(TAKE_OVER_EXPIRED, error_json(error), settle)
    return [row["id"] for row in rows]
