"""Reads how workspaces stand: what waits in them, what is settled for them, and what holds them back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString

from asyncpg import Record

from service.core.breakers import BreakerReason
from service.core.model import WaitReason
from service.core.place import Place
from service.core.workspaces import Governance
from service.gateways.store.database import Connection
from service.gateways.store.reading import Hold
from service.gateways.store.workspaces import governance_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreaker:
    """A breaker that lets nothing of a workspace through but a probe now and then."""

    #: Whether it stops the other workspaces of the credential as well.
    is_of_credential: bool
    reason: BreakerReason
    since: datetime
    #: When the next probe may be made.
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceView:
    """A workspace as an operator sees it."""

    place: Place
    #: Items that wait.
    waiting: int
    #: For how long the first of them could have been sent; None where none waits.
    oldest_for: timedelta | None
    governance: Governance
    breaker: OpenBreaker | None
    #: Of the last to end of what holds its keys back.
    hold: Hold | None


# Which workspaces there are, in order: those with an item that lives or was released, which waits or is in a batch, and
# those of which something is settled. One look-up in two indexes finds the next.
LIST_PLACES: LiteralString = """
WITH RECURSIVE used AS (
    SELECT $1::text AS project_id, $2::text AS workspace
    UNION ALL
    SELECT n.project_id, n.workspace
    FROM used AS u
    CROSS JOIN LATERAL (
        (
            SELECT i.project_id, i.workspace FROM release_items AS i
            WHERE
                i.batch_id IS NULL AND NOT i.is_free AND (i.project_id, i.workspace) > (u.project_id, u.workspace)
            ORDER BY i.project_id, i.workspace LIMIT 1
        )
        UNION ALL
        (
            SELECT b.project_id, b.workspace FROM batches AS b
            WHERE
                b.state NOT IN ('rejected', 'failed', 'split')
                AND (b.project_id, b.workspace) > (u.project_id, u.workspace)
            ORDER BY b.project_id, b.workspace LIMIT 1
        )
        ORDER BY project_id, workspace LIMIT 1
    ) AS n
)
SELECT p.project_id, p.workspace
FROM (
    (
        SELECT u.project_id, u.workspace FROM used AS u
        WHERE
            u.project_id || '/' || u.workspace LIKE ANY($3::text[]) AND (u.project_id, u.workspace) > ($1, $2)
            AND strpos(lower(u.project_id || '/' || u.workspace), lower($5)) > 0
        LIMIT $4
    )
    UNION
    (
        SELECT w.project_id, w.workspace FROM workspaces AS w
        WHERE
            (w.project_id, w.workspace) > ($1, $2) AND w.project_id || '/' || w.workspace LIKE ANY($3::text[])
            AND strpos(lower(w.project_id || '/' || w.workspace), lower($5)) > 0
        ORDER BY w.project_id, w.workspace
        LIMIT $4
    )
) AS p
ORDER BY p.project_id, p.workspace
LIMIT $4
"""


async def list_places(
    connection: Connection, *, visible: Sequence[str], after: Place | None, limit: int, part: str = ""
) -> list[Place]:
    """Return some of the workspaces that are known and visible, in order, from behind the given one.

    ``part`` is in the names of all of them, ``project/workspace``, whatever its case.
    """
    behind = (after.project_id, after.workspace) if after else ("", "")
    rows = await connection.fetch(LIST_PLACES, *behind, visible, limit, part)
    return [Place(project_id=row["project_id"], workspace=row["workspace"]) for row in rows]


# How workspaces stand. What waits is counted key by key from an index alone; a hold counts for a second after its end.
DESCRIBE_WORKSPACES: LiteralString = """
WITH open AS MATERIALIZED (
    SELECT b.project_id, b.workspace, b.reason, b.changed_at, b.until
    FROM breakers AS b
    WHERE b.until > now() - interval '1 hour'
)
SELECT
    p.project_id, p.workspace, clock_timestamp() AS now,
    coalesce(k.waiting, 0) AS waiting, k.oldest, k.hold_reason, k.hold_until, s.wait_reason, s.not_before,
    b.is_of_credential, b.reason AS breaker_reason, b.changed_at AS breaker_since, b.until AS breaker_until,
    w.max_items, w.quiet, w.linger, w.rate, w.concurrency, w.paused_at, w.paused_reason, w.resumed_at, w.flushed_at
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p (project_id, workspace, position)
LEFT JOIN workspaces AS w ON w.project_id = p.project_id AND w.workspace = p.workspace
LEFT JOIN LATERAL (
    SELECT
        sum(i.count)::bigint AS waiting,
        min(i.oldest) AS oldest,
        max(h.until) AS hold_until,
        (array_agg(h.reason ORDER BY h.until DESC NULLS LAST))[1] AS hold_reason
    FROM (
        SELECT i.batch_key, count(*) AS count, min(i.due_from) AS oldest
        FROM release_items AS i
        WHERE
            i.project_id = p.project_id AND i.workspace = p.workspace AND i.batch_id IS NULL
            AND NOT i.is_free AND i.holder_id IS NULL
        GROUP BY i.batch_key
    ) AS i
    LEFT JOIN holds AS h ON h.batch_key = i.batch_key AND h.until > now() - interval '1 second'
) AS k ON TRUE
LEFT JOIN LATERAL (
    SELECT b.wait_reason, b.not_before
    FROM batches AS b
    WHERE
        b.project_id = p.project_id AND b.workspace = p.workspace AND b.state = 'sealed' AND b.not_before > now()
    ORDER BY b.not_before DESC
    LIMIT 1
) AS s ON TRUE
LEFT JOIN LATERAL (
    SELECT o.workspace = '' AS is_of_credential, o.reason, o.changed_at, o.until
    FROM open AS o
    WHERE (o.project_id = p.project_id AND o.workspace = p.workspace) OR o.workspace = ''
    ORDER BY o.until DESC
    LIMIT 1
) AS b ON TRUE
ORDER BY p.position
"""


async def describe_workspaces(connection: Connection, places: Sequence[Place]) -> list[WorkspaceView]:
    """Return how these workspaces stand, in this order."""
    rows = await connection.fetch(
        DESCRIBE_WORKSPACES, [place.project_id for place in places], [place.workspace for place in places]
    )
    return [_view_of(row) for row in rows]


def _view_of(row: Record) -> WorkspaceView:
    oldest = row["oldest"]
    return WorkspaceView(
        place=Place(project_id=row["project_id"], workspace=row["workspace"]),
        waiting=row["waiting"],
        oldest_for=None if oldest is None else max(row["now"] - oldest, timedelta(0)),
        governance=governance_of(row),
        breaker=_breaker_of(row),
        hold=_last_of(
            Hold(reason=WaitReason(reason), until=until)
            for reason, until in (
                (row["hold_reason"], row["hold_until"]),
                (row["wait_reason"], row["not_before"]),
            )
            if reason is not None
        ),
    )


def _breaker_of(row: Record) -> OpenBreaker | None:
    if row["breaker_until"] is None:
        return None
    return OpenBreaker(
        is_of_credential=row["is_of_credential"],
        reason=BreakerReason(row["breaker_reason"]),
        since=row["breaker_since"],
        until=row["breaker_until"],
    )


def _last_of(holds: Iterable[Hold]) -> Hold | None:
    return max(holds, key=lambda hold: hold.until, default=None)
