"""Reads what decides whether requests can be cancelled or retried, and locks nothing: for a look beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from asyncpg import Record

from service.core.model import ItemState, RequestState
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """A request, as it stands at this moment."""

    request_id: UUID
    caller: str
    apply_user_id: str
    state: RequestState
    item_states: frozenset[ItemState]
    is_too_late: bool
    #: An item that another request holds for others by now, and that request.
    conflict: tuple[str, UUID] | None


FIND_PROSPECTS: LiteralString = """
SELECT
    r.id, r.caller, r.apply_user_id, r.state, coalesce(r.deadline <= now(), FALSE) AS is_too_late,
    ARRAY(SELECT DISTINCT i.state::text FROM release_items AS i WHERE i.request_id = r.id) AS item_states,
    o.pending_item_id AS held_item, o.request_id AS holder
FROM release_requests AS r
LEFT JOIN LATERAL (
    SELECT h.pending_item_id, h.request_id
    FROM release_items AS i
    JOIN item_holders AS h
        ON h.project_id = i.project_id AND h.workspace = i.workspace AND h.pending_item_id = i.pending_item_id
    JOIN release_requests AS q ON q.id = h.request_id
    WHERE
        i.request_id = r.id AND r.state IN ('failed', 'rejected')
        AND (
            q.apply_user_id <> r.apply_user_id
            OR NOT (q.approver_ids @> r.approver_ids AND q.approver_ids <@ r.approver_ids)
        )
    ORDER BY h.request_id, h.position
    LIMIT 1
) AS o ON TRUE
WHERE r.id = ANY($1::uuid[]) AND r.project_id || '/' || r.workspace LIKE ANY($2::text[])
"""


async def find_prospects(
    connection: Connection, request_ids: Sequence[UUID], *, visible: Sequence[str]
) -> dict[UUID, Prospect]:
    """Return those of the requests that are in the visible workspaces, by their ids."""
    rows = await connection.fetch(FIND_PROSPECTS, request_ids, visible)
    return {row["id"]: _prospect_from_row(row) for row in rows}


def _prospect_from_row(row: Record) -> Prospect:
    return Prospect(
        request_id=row["id"],
        caller=row["caller"],
        apply_user_id=row["apply_user_id"],
        state=RequestState(row["state"]),
        item_states=frozenset(ItemState(state) for state in row["item_states"]),
        is_too_late=row["is_too_late"],
        conflict=None if row["holder"] is None else (row["held_item"], row["holder"]),
    )
