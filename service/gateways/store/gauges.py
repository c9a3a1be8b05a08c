"""Counts what there is, for a scrape: what waits and what is under way by small indexes, and all requests by state."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from service.core.gauges import Gauges, WaitingPlace
from service.core.model import RequestState
from service.gateways.store.database import Connection

# A count takes its time of one core, and leaves the others to the work.
COUNT_ALONE: LiteralString = "SELECT set_config('max_parallel_workers_per_gather', '0', TRUE)"


async def _count_alone(connection: Connection) -> None:
    await connection.execute(COUNT_ALONE)


# From the index of what waits alone, which is why attached items are left out by the counts only: they wait for their
# holder's sake, and are no part of what a workspace's own answer says.
COUNT_PLACES: LiteralString = """
WITH places AS (
    SELECT
        i.workspace,
        count(*) FILTER (WHERE i.holder_id IS NULL) AS items,
        min(i.due_from) FILTER (WHERE i.holder_id IS NULL) AS due_from
    FROM release_items AS i
    WHERE i.batch_id IS NULL AND NOT i.is_free
    GROUP BY i.workspace
    HAVING bool_or(i.holder_id IS NULL)
), ranked AS (
    SELECT
        p.workspace, p.items, p.due_from,
        row_number() OVER (ORDER BY p.items DESC, p.workspace) AS by_items,
        row_number() OVER (ORDER BY p.due_from, p.workspace) AS by_age
    FROM places AS p
), named AS (
    SELECT CASE WHEN r.by_items <= $1 OR r.by_age <= $1 THEN r.workspace END AS workspace, r.items, r.due_from
    FROM ranked AS r
)
SELECT
    n.workspace, sum(n.items)::bigint AS items,
    greatest(extract(epoch FROM clock_timestamp() - min(n.due_from)), 0)::double precision AS oldest_seconds
FROM named AS n
GROUP BY n.workspace
ORDER BY n.workspace
"""

# A breaker that nobody probed for an hour is forgotten, as the limiter does.
COUNT_REST: LiteralString = """
SELECT
    (SELECT count(*) FROM batches AS b WHERE b.state = 'sending') AS calls_under_way,
    d.count AS in_doubt,
    coalesce(greatest(extract(epoch FROM clock_timestamp() - d.oldest), 0), 0)::double precision
        AS in_doubt_oldest_seconds,
    (SELECT count(*) FROM batches AS b WHERE b.state = 'needs_attention') AS needs_attention,
    (SELECT count(*) FROM breakers AS o WHERE o.until > now() - interval '1 hour') AS breakers_open,
    (SELECT count(*) FROM workspaces AS w WHERE w.paused_at IS NOT NULL) AS workspaces_paused,
    (SELECT coalesce(max(m.version::integer), 0) FROM schema_migrations AS m) AS schema_version
FROM (
    SELECT count(*) AS count, min(l.finished_at) AS oldest
    FROM batches AS b
    LEFT JOIN LATERAL (
        SELECT a.finished_at FROM attempts AS a WHERE a.batch_id = b.id ORDER BY a.number DESC LIMIT 1
    ) AS l ON TRUE
    WHERE b.state = 'in_doubt'
) AS d
"""


async def read_gauges(connection: Connection, *, most_places: int) -> Gauges:
    """Count what waits and what is under way, in the transaction of the caller.

    Workspaces are named up to a number, the first by what waits and by its age.
    """
    await _count_alone(connection)
    places = await connection.fetch(COUNT_PLACES, most_places)
    (rest,) = await connection.fetch(COUNT_REST)
    return Gauges(
        waiting=tuple(WaitingPlace(**place) for place in places),
        **rest,
    )


# By the index of what is not done; its condition on the time is the index's.
COUNT_LIVE: LiteralString = """
SELECT state::text AS state, count(*) AS count
FROM release_requests
WHERE finished_at IS NULL AND created_at > '-infinity'
GROUP BY state
"""

# All that is done, from indexes alone: what is neither live nor of a rare state was released. No index has the state
# itself (decisions/0020), so this goes once through the smallest index of all requests.
COUNT_FINISHED: LiteralString = """
WITH rare AS (
    SELECT r.rare_state AS state, count(*) AS count
    FROM release_requests AS r
    WHERE r.rare_state IS NOT NULL
    GROUP BY r.rare_state
), done AS (
    SELECT r.state, r.count FROM rare AS r WHERE r.state NOT IN ('batched', 'in_doubt', 'needs_attention')
)
SELECT d.state::text AS state, d.count FROM done AS d
UNION ALL
SELECT
    'released',
    (SELECT count(*) FROM release_requests)
    - (SELECT count(*) FROM release_requests AS r WHERE r.finished_at IS NULL AND r.created_at > '-infinity')
    - (SELECT coalesce(sum(d.count), 0) FROM done AS d)::bigint
"""


async def count_requests(connection: Connection) -> Mapping[str, int]:
    """Count all requests by state, in the transaction of the caller; a state without any is left out."""
    await _count_alone(connection)
    rows = [*await connection.fetch(COUNT_LIVE), *await connection.fetch(COUNT_FINISHED)]
    return {row["state"]: row["count"] for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A request that is done, and how long after its acceptance."""

    request_id: UUID
    state: RequestState
    seconds: float


# The requests that have ended, of those that are named, with how long each took.
FIND_ENDED: LiteralString = """
SELECT r.id, r.state::text AS state, extract(epoch FROM r.finished_at - r.created_at)::double precision AS seconds
FROM release_requests AS r
WHERE r.id = ANY($1::uuid[]) AND r.finished_at IS NOT NULL
"""


async def find_ended(connection: Connection, request_ids: Collection[UUID]) -> list[Ended]:
    """Return those of the requests that are done."""
    rows = await connection.fetch(FIND_ENDED, request_ids)
    return [
        Ended(request_id=row["id"], state=RequestState(row["state"]), seconds=row["seconds"]) for row in rows
    ]
