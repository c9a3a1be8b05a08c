"""Lists batches, page by page: all that a caller may see, and those that wait for an operator."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from asyncpg import Record

from service.core.model import BatchState
from service.core.outcomes import VendorError
from service.gateways.store.batch_reading import BatchView, MemberView, batch_columns
from service.gateways.store.database import Connection

#: The pattern of those who may see every workspace.
EVERYWHERE = "%"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFilter:
    """Which batches a reader wants; None is all."""

    project_id: str | None = None
    workspace: str | None = None
    state: BatchState | None = None


# The newest batches of all.
LIST_BATCHES: LiteralString = """
SELECT BATCH_COLUMNS
FROM batches AS b
WHERE b.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY b.id DESC
LIMIT $2
""".replace("BATCH_COLUMNS", batch_columns())

# The newest batches of some workspaces, in some states. The workspaces are found by leaps through the index, and of
# each workspace and state a page is read: never more than that, however many batches there are.
LIST_BATCHES_OF_PLACES: LiteralString = """
WITH RECURSIVE place AS (
    (SELECT b.project_id, b.workspace FROM batches AS b ORDER BY b.project_id, b.workspace LIMIT 1)
    UNION ALL
    SELECT n.project_id, n.workspace
    FROM place AS p
    CROSS JOIN LATERAL (
        SELECT b.project_id, b.workspace FROM batches AS b
        WHERE (b.project_id, b.workspace) > (p.project_id, p.workspace)
        ORDER BY b.project_id, b.workspace
        LIMIT 1
    ) AS n
), page AS (
    SELECT i.id
    FROM place AS p
    CROSS JOIN unnest($4::batch_state[]) AS s (state)
    CROSS JOIN LATERAL (
        SELECT b.id FROM batches AS b
        WHERE
            b.project_id = p.project_id AND b.workspace = p.workspace AND b.state = s.state
            AND b.id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY b.id DESC
        LIMIT $6
    ) AS i
    WHERE
        p.project_id || '/' || p.workspace LIKE ANY($1::text[])
        AND ($2::text IS NULL OR p.project_id = $2)
        AND ($3::text IS NULL OR p.workspace = $3)
    ORDER BY i.id DESC
    LIMIT $6
)
SELECT BATCH_COLUMNS
FROM page AS p
JOIN batches AS b ON b.id = p.id
ORDER BY b.id DESC
""".replace("BATCH_COLUMNS", batch_columns())


async def list_batches(
    connection: Connection, wanted: BatchFilter, *, visible: Sequence[str], before: UUID | None, limit: int
) -> list[BatchView]:
    """Return some batches without members and attempts, the newest first, from behind the given one."""
    if wanted == BatchFilter() and EVERYWHERE in visible:
        rows = await connection.fetch(LIST_BATCHES, before, limit)
    else:
        states = list(BatchState) if wanted.state is None else [wanted.state]
        rows = await connection.fetch(
            LIST_BATCHES_OF_PLACES, visible, wanted.project_id, wanted.workspace, states, before, limit
        )
    return [BatchView.from_rows(row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedBatch:
    """A batch that waits for an operator, and what is known of it."""

    batch: BatchView
    members: tuple[MemberView, ...]
    #: When it came to wait.
    since: datetime
    attempt_number: int
    #: What the vendor said to the last call, if anything.
    last_words: VendorError | None
    #: What the looks into the vendor's lists saw.
    evidence: dict[str, Any] | None


# Batches that wait for an operator, those that wait longest first, with the call that is in doubt.
LIST_PARKED: LiteralString = """
SELECT BATCH_COLUMNS,
    a.number AS attempt_number, a.http_status AS attempt_status, a.error_code AS attempt_code,
    a.error_msg AS attempt_message, a.vendor_request_id AS attempt_request, a.evidence AS attempt_evidence
FROM batches AS b
CROSS JOIN LATERAL (
    SELECT t.number, t.http_status, t.error_code, t.error_msg, t.vendor_request_id, t.evidence
    FROM attempts AS t
    WHERE t.batch_id = b.id ORDER BY t.number DESC LIMIT 1
) AS a
WHERE
    b.state = 'needs_attention' AND b.project_id || '/' || b.workspace LIKE ANY($1::text[])
    AND (b.updated_at, b.id)
    > (coalesce($2::timestamptz, '-infinity'), coalesce($3::uuid, '00000000-0000-0000-0000-000000000000'))
ORDER BY b.updated_at, b.id
LIMIT $4
""".replace("BATCH_COLUMNS", batch_columns())

MEMBERS_OF_BATCHES: LiteralString = """
SELECT i.batch_id, i.request_id, i.pending_item_id, i.state, i.holder_id IS NOT NULL AS is_attached
FROM release_items AS i
WHERE i.batch_id = ANY($1::uuid[])
ORDER BY i.batch_id, i.id
"""

_OF_ATTEMPT = "attempt_"


async def list_parked(
    connection: Connection, *, visible: Sequence[str], behind: tuple[datetime, UUID] | None, limit: int
) -> list[ParkedBatch]:
    """Return some batches that wait for an operator, from behind the given moment and batch."""
    since, batch_id = behind or (None, None)
    rows = await connection.fetch(LIST_PARKED, visible, since, batch_id, limit)
    members: defaultdict[UUID, list[MemberView]] = defaultdict(list)
    for member in await connection.fetch(MEMBERS_OF_BATCHES, [row["id"] for row in rows]):
        members[member["batch_id"]].append(MemberView.from_row(member))
    return [_parked(row, members[row["id"]]) for row in rows]


def _parked(row: Record, members: Sequence[MemberView]) -> ParkedBatch:
    words = None
    if row["attempt_status"] is not None:
        words = VendorError(
            status=row["attempt_status"],
            error_code=row["attempt_code"],
            error_msg=row["attempt_message"],
            request_id=row["attempt_request"],
        )
    return ParkedBatch(
        batch=BatchView.from_rows(
            {name: value for name, value in row.items() if not name.startswith(_OF_ATTEMPT)}
        ),
        members=tuple(members),
        since=row["updated_at"],
        attempt_number=row["attempt_number"],
        last_words=words,
        evidence=row["attempt_evidence"],
    )
