"""Has a request that ended without a release wait again, or attaches its items to who holds them by now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from service.core.errors import DatabaseUnavailable
from service.core.model import RequestState
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What of a request matters when it is tried again."""

    apply_user_id: str
    #: Sorted.
    approver_ids: tuple[str, ...]
    batch_key: UUID
    state: RequestState
    deadline: datetime | None
    now: datetime

    @property
    def is_too_late(self) -> bool:
        """Whether it failed or was rejected, and its deadline has passed since."""
        return self._ended_without_release and self.deadline is not None and self.deadline <= self.now

    @property
    def may_wait(self) -> bool:
        """Whether it may be tried again."""
        return self._ended_without_release and not self.is_too_late

    @property
    def _ended_without_release(self) -> bool:
        return self.state in (RequestState.FAILED, RequestState.REJECTED)


LOCK_FOR_RETRY: LiteralString = """
SELECT
    r.apply_user_id, r.batch_key, r.state, r.deadline, clock_timestamp() AS now,
    ARRAY(SELECT a FROM unnest(r.approver_ids) AS a ORDER BY a COLLATE "C") AS approver_ids
FROM release_requests AS r
WHERE
    r.id = $1
    AND (
        r.idempotency_key IS NULL
        OR EXISTS (
            SELECT FROM idempotency_keys AS k
            WHERE k.idempotency_key = r.idempotency_key AND k.caller = r.caller AND k.request_id = r.id
        )
    )
FOR NO KEY UPDATE OF r
"""


async def lock_for_retry(connection: Connection, request_id: UUID) -> Again | None:
    """Lock a request behind its items; None where it is gone, or has lost its key as it is about to go."""
    row = await connection.fetchrow(LOCK_FOR_RETRY, request_id)
    if row is None:
        return None
    return Again(
        apply_user_id=row["apply_user_id"],
        approver_ids=tuple(row["approver_ids"]),
        batch_key=row["batch_key"],
        state=RequestState(row["state"]),
        deadline=row["deadline"],
        now=row["now"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherHolder:
    """The row of another request that holds an item by now, and for whom."""

    item_id: int
    holder_id: int
    request_id: UUID
    pending_item_id: str
    apply_user_id: str
    approver_ids: tuple[str, ...]


# Locked, so that none can change state before the rows that attach to them do.
FIND_OTHER_HOLDERS: LiteralString = """
SELECT
    i.id AS item_id, h.id AS holder_id, h.request_id, h.pending_item_id, r.apply_user_id,
    ARRAY(SELECT a FROM unnest(r.approver_ids) AS a ORDER BY a COLLATE "C") AS approver_ids
FROM release_items AS i
JOIN item_holders AS k
    ON k.project_id = i.project_id AND k.workspace = i.workspace AND k.pending_item_id = i.pending_item_id
    AND k.pending_item_id = ANY(ARRAY(SELECT o.pending_item_id FROM release_items AS o WHERE o.request_id = $1))
JOIN release_items AS h
    ON h.request_id = k.request_id AND h.position = k.position AND h.holder_id IS NULL AND NOT h.is_free
JOIN release_requests AS r ON r.id = h.request_id
WHERE i.request_id = $1
ORDER BY h.id
FOR SHARE OF h
"""


async def find_other_holders(connection: Connection, request_id: UUID) -> Sequence[OtherHolder]:
    """Return and lock the rows that hold the items of a request that itself holds none of them."""
    rows = await connection.fetch(FIND_OTHER_HOLDERS, request_id)
    return [
        OtherHolder(
            item_id=row["item_id"],
            holder_id=row["holder_id"],
            request_id=row["request_id"],
            pending_item_id=row["pending_item_id"],
            apply_user_id=row["apply_user_id"],
            approver_ids=tuple(row["approver_ids"]),
        )
        for row in rows
    ]


# Those who shared the end of these items keep it for themselves.
LET_GO: LiteralString = """
UPDATE release_items AS a SET holder_id = NULL
FROM release_items AS i
WHERE i.request_id = $1 AND a.holder_id = i.id
"""

WAIT_AGAIN: LiteralString = """
UPDATE release_items AS i SET
    state = 'waiting', batch_id = NULL, holder_id = NULL, error = NULL, due_from = now(), manual = TRUE
WHERE i.request_id = $1 AND i.id <> ALL($2::bigint[])
"""

ATTACH_AGAIN: LiteralString = """
UPDATE release_items AS i SET
    state = h.state, batch_id = h.batch_id, holder_id = h.id, error = h.error, manual = TRUE
FROM unnest($1::bigint[], $2::bigint[]) AS g (item_id, holder_id)
JOIN release_items AS h ON h.id = g.holder_id
WHERE
    i.id = g.item_id
    AND EXISTS (SELECT FROM item_holders AS k WHERE k.request_id = h.request_id AND k.position = h.position)
"""

REOPEN_REQUEST: LiteralString = """
WITH request AS (
    UPDATE release_requests AS r SET
        state = 'accepted', error = NULL, finished_at = NULL, version = r.version + 1, updated_at = clock_timestamp()
    WHERE r.id = $1
    RETURNING r.id, r.version
)
INSERT INTO request_events (request_id, seq, at, type, state, detail)
SELECT id, version, clock_timestamp(), 'request.retried', 'accepted', $2::jsonb FROM request
"""


async def reopen(
    connection: Connection, request_id: UUID, held: Sequence[OtherHolder], *, detail: dict[str, object]
) -> None:
    """Have the items wait again, those that others hold beside them, and the request be live again.

    Raises:
        DatabaseUnavailable: a holder came to the end of its retention meanwhile; trying again is safe.
    """
    await connection.execute(LET_GO, request_id)
    await connection.execute(WAIT_AGAIN, request_id, [other.item_id for other in held])
    if held:
        status = await connection.execute(
            ATTACH_AGAIN, [other.item_id for other in held], [other.holder_id for other in held]
        )
        if status != f"UPDATE {len(held)}":
            raise DatabaseUnavailable("who held the items of a request is gone")
    await connection.execute(REOPEN_REQUEST, request_id, detail)
