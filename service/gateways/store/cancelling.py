"""Ends a request for which no call was made, and hands its items on to who is attached to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from service.core.model import ItemState, RequestState
from service.core.place import Place
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What decides who may act on a request, and whether anybody may."""

    request_id: UUID
    caller: str
    project_id: str
    workspace: str
    apply_user_id: str
    state: RequestState

    @property
    def place(self) -> Place:
        """The workspace within its project."""
        return Place(project_id=self.project_id, workspace=self.workspace)


FIND_STANDING: LiteralString = """
SELECT r.id, r.caller, r.project_id, r.workspace, r.apply_user_id, r.state FROM release_requests AS r
WHERE r.id = $1 AND r.project_id || '/' || r.workspace LIKE ANY($2::text[])
"""


async def find_standing(
    connection: Connection, request_id: UUID, *, visible: Sequence[str]
) -> Standing | None:
    """Return how a request stands, or None where there is none in the visible workspaces."""
    row = await connection.fetchrow(FIND_STANDING, request_id, visible)
    if row is None:
        return None
    return Standing(
        request_id=row["id"],
        caller=row["caller"],
        project_id=row["project_id"],
        workspace=row["workspace"],
        apply_user_id=row["apply_user_id"],
        state=RequestState(row["state"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedItem:
    """An item of a request that this transaction has locked."""

    item_id: int
    state: ItemState


# A worker that is taking one of them is waited for; what it took is then no longer waiting.
LOCK_ITEMS: LiteralString = """
SELECT id, state FROM release_items WHERE request_id = $1 ORDER BY id FOR NO KEY UPDATE
"""


async def lock_items(connection: Connection, request_id: UUID) -> Sequence[LockedItem]:
    """Lock all items of a request, and return how they stand now."""
    rows = await connection.fetch(LOCK_ITEMS, request_id)
    return [LockedItem(item_id=row["id"], state=ItemState(row["state"])) for row in rows]


CANCEL_ITEMS: LiteralString = "UPDATE release_items SET state = 'cancelled' WHERE id = ANY($1::bigint[])"


async def cancel_items(connection: Connection, item_ids: Sequence[int]) -> None:
    """End waiting items that this transaction has locked."""
    await connection.execute(CANCEL_ITEMS, item_ids)
