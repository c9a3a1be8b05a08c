"""Reads how everything stands, at a glance: what is live, what has ended lately, and what went wrong last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from service.core.ids import first_id_within
from service.core.model import BatchState, RequestState
from service.gateways.store.database import Connection

#: More than so many are not counted one by one.
COUNTED_AT_MOST = 10_000
_LATEST_BATCHES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCounts:
    """How many requests are in each state that is not final."""

    by_state: dict[RequestState, int]
    #: Whether there are more of those that wait or are under way than are counted.
    is_cut: bool


# The states of the usual way are counted from the newest on, up to a bound; the others are few, and have an index.
COUNT_LIVE: LiteralString = """
SELECT s.state, count(*) AS count
FROM (
    SELECT r.state
    FROM release_requests AS r
    WHERE
        r.finished_at IS NULL AND r.created_at > '-infinity' AND r.rare_state IS NULL
        AND r.project_id || '/' || r.workspace LIKE ANY($1::text[])
    ORDER BY r.created_at DESC, r.id DESC
    LIMIT $2
) AS s
GROUP BY s.state
"""

COUNT_RARE: LiteralString = """
SELECT s.state, c.count
FROM unnest(ARRAY['batched', 'in_doubt', 'needs_attention']::request_state[]) AS s (state)
CROSS JOIN LATERAL (
    SELECT count(*) AS count
    FROM (
        SELECT FROM release_requests AS r
        WHERE r.rare_state = s.state AND r.project_id || '/' || r.workspace LIKE ANY($1::text[])
        LIMIT $2
    ) AS few
) AS c
"""


async def count_live(connection: Connection, *, visible: Sequence[str]) -> LiveCounts:
    """Count the visible requests that are not done, state by state."""
    usual = await connection.fetch(COUNT_LIVE, visible, COUNTED_AT_MOST)
    rare = await connection.fetch(COUNT_RARE, visible, COUNTED_AT_MOST)
    counts = {RequestState(row["state"]): row["count"] for row in (*usual, *rare)}
    return LiveCounts(
        by_state={state: counts.get(state, 0) for state in RequestState if not state.is_done},
        is_cut=sum(row["count"] for row in usual) >= COUNTED_AT_MOST,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What ended in one part of a span of time."""

    #: 0 is the part that ends now.
    parts_ago: int
    released: int
    failed: int


# Items of batches that have ended, part by part. The ids of batches sort by time, so their index bounds what is read.
COUNT_ENDED: LiteralString = """
SELECT
    floor(extract(EPOCH FROM now() - b.finished_at) / extract(EPOCH FROM $3::interval))::integer AS parts_ago,
    coalesce(sum(b.item_count) FILTER (WHERE b.state = 'released'), 0) AS released,
    coalesce(sum(b.item_count) FILTER (WHERE b.state <> 'released'), 0) AS failed
FROM batches AS b
WHERE
    b.id >= $2 AND b.finished_at > now() - $4::interval AND b.state <> 'split'
    AND b.project_id || '/' || b.workspace LIKE ANY($1::text[])
GROUP BY parts_ago
"""


async def count_ended(
    connection: Connection, *, visible: Sequence[str], span: timedelta, parts: int
) -> list[Bucket]:
    """Count the items of batches that have ended within a span, the newest part first; parts without any are 0."""
    lowest = first_id_within(span)
    rows = await connection.fetch(COUNT_ENDED, visible, lowest, span / parts, span)
    found = {row["parts_ago"]: row for row in rows}
    return [
        Bucket(
            parts_ago=part,
            released=found[part]["released"] if part in found else 0,
            failed=found[part]["failed"] if part in found else 0,
        )
        for part in range(parts)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """A batch that something went wrong with."""

    batch_id: UUID
    project_id: str
    workspace: str
    state: BatchState
    error: dict[str, Any]
    updated_at: datetime


# Of the latest batches.
LATEST_MISHAPS: LiteralString = """
SELECT b.id, b.project_id, b.workspace, b.state, b.error, b.updated_at
FROM (
    SELECT id, project_id, workspace, state, error, updated_at FROM batches ORDER BY id DESC LIMIT $2
) AS b
WHERE b.error IS NOT NULL AND b.project_id || '/' || b.workspace LIKE ANY($1::text[])
ORDER BY b.updated_at DESC
LIMIT $3
"""


async def latest_mishaps(connection: Connection, *, visible: Sequence[str], limit: int) -> list[Mishap]:
    """Return the latest of the visible batches that something went wrong with."""
    rows = await connection.fetch(LATEST_MISHAPS, visible, _LATEST_BATCHES, limit)
    return [
        Mishap(
            batch_id=row["id"],
            project_id=row["project_id"],
            workspace=row["workspace"],
            state=BatchState(row["state"]),
            error=row["error"],
            updated_at=row["updated_at"],
        )
        for row in rows
    ]
