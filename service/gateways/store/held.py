"""Finds what holds work back at this moment, in all workspaces together: for whoever asks why nothing moves."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from service.core.model import WaitReason
from service.core.place import Place
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Something that holds work back."""

    #: None where it concerns all workspaces.
    place: Place | None
    reason: WaitReason
    #: None for a limit of the moment, of which nobody keeps since when it holds.
    since: datetime | None
    #: When it is looked at again; None for a pause, which has no known end.
    until: datetime | None


# Open breakers, pauses, batches that are put off, and keys that the limiter has refused; a hold counts for a second
# after its end, and a breaker that nobody probed for an hour is forgotten, as in a workspace's own answer.
FIND_HELD: LiteralString = """
WITH refused AS (
    SELECT h.batch_key, h.reason, h.until
    FROM holds AS h
    WHERE h.until > now() - interval '1 second'
    ORDER BY h.until DESC
    LIMIT 1000
), held AS (
    SELECT o.project_id, o.workspace, 'breaker_open' AS reason, o.changed_at AS since, o.until
    FROM breakers AS o
    WHERE o.until > now() - interval '1 hour'
    UNION ALL
    SELECT w.project_id, w.workspace, 'paused', w.paused_at, NULL
    FROM workspaces AS w
    WHERE w.paused_at IS NOT NULL
    UNION ALL
    SELECT b.project_id, b.workspace, b.wait_reason::text, b.updated_at, b.not_before
    FROM batches AS b
    WHERE b.state = 'sealed' AND b.not_before > now() AND b.wait_reason IS NOT NULL
    UNION ALL
    SELECT i.project_id, i.workspace, r.reason::text, NULL, r.until
    FROM refused AS r
    CROSS JOIN LATERAL (
        SELECT i.project_id, i.workspace
        FROM release_items AS i
        WHERE i.batch_key = r.batch_key AND i.batch_id IS NULL AND NOT i.is_free AND i.holder_id IS NULL
        LIMIT 1
    ) AS i
)
SELECT h.project_id, h.workspace, h.reason, min(h.since) AS since, max(h.until) AS until
FROM held AS h
GROUP BY h.project_id, h.workspace, h.reason
ORDER BY min(h.since) NULLS LAST, h.project_id, h.workspace, h.reason
LIMIT $1
"""


async def find_held(connection: Connection, *, most: int) -> list[Held]:
    """Return what holds work back, the longest first; of a workspace each reason once."""
    rows = await connection.fetch(FIND_HELD, most)
    return [
        Held(
            place=Place(project_id=row["project_id"], workspace=row["workspace"])
            if row["workspace"]
            else None,
            reason=WaitReason(row["reason"]),
            since=row["since"],
            until=row["until"],
        )
        for row in rows
    ]
