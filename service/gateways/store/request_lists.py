"""Lists the release requests that match a filter, the newest first, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, takewhile
from typing import LiteralString
from uuid import UUID

from asyncpg import Record

from service.core.request_filter import RequestFilter
from service.gateways.store.database import Connection
from service.gateways.store.reading import SELECT_REQUEST, RequestView

#: A page ends early rather than hold more items than these.
_MOST_ITEMS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPosition:
    """A row of a list: what comes after it was created before it."""

    created_at: datetime
    request_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRows:
    """Some requests in order, and whether more come after them."""

    requests: tuple[RequestView, ...]
    has_more: bool

    @property
    def last(self) -> ListPosition:
        """The position of the last one; there must be one."""
        request = self.requests[-1]
        return ListPosition(created_at=request.created_at, request_id=request.request_id)


# Every condition that is not wanted is NULL, and falls away when the statement is planned for its values: see
# ``PLAN_FOR_VALUES``; so do the arms of CASE. The exact workspaces are those of a caller that may see no others: an
# index finds them, where patterns are compared row by row. A single one, and what is said of a state beside the state
# itself, are in the form that an index has.
_CONDITIONS: LiteralString = """
    r.project_id || '/' || r.workspace LIKE ANY($1::text[])
    AND (
        $2::text[] IS NULL
        OR CASE cardinality($2) WHEN 1 THEN r.workspace = ($2)[1] ELSE r.workspace = ANY($2) END
    )
    AND ($3::text IS NULL OR r.project_id = $3)
    AND ($4::text IS NULL OR r.workspace = $4)
    AND (
        $5::request_state IS NULL
        OR CASE
            WHEN $5 IN ('accepted', 'releasing')
                THEN r.state = $5 AND r.finished_at IS NULL AND r.created_at > '-infinity'
            WHEN $5 = 'released' THEN r.state = $5
            ELSE r.rare_state = $5
        END
    )
    AND (
        $6::text IS NULL
        OR (r.error IS NOT NULL AND (r.error ->> 'code' = $6 OR r.error -> 'vendor' ->> 'error_code' = $6))
    )
    AND (
        $7::text IS NULL
        OR r.id = ANY(ARRAY(
            SELECT h.request_id FROM item_holders AS h WHERE h.pending_item_id = $7
            UNION ALL
            SELECT i.request_id FROM release_items AS i
            WHERE i.pending_item_id = $7 AND (i.holder_id IS NOT NULL OR i.is_free)
        ))
    )
    AND ($8::jsonb IS NULL OR (r.labels <> '{}' AND r.labels @> $8))
    AND (
        $9::text IS NULL
        OR r.id = ANY(ARRAY(SELECT k.request_id FROM idempotency_keys AS k WHERE k.idempotency_key = $9))
    )
    AND ($10::timestamptz IS NULL OR r.created_at >= $10)
    AND ($11::timestamptz IS NULL OR r.created_at < $11)
"""


def matching() -> LiteralString:
    """Return the conditions of a filter on requests ``r``, for the parameters 1 to 11 of ``conditions``."""
    return _CONDITIONS


LIST_REQUESTS: LiteralString = (
    SELECT_REQUEST
    + "WHERE"
    + _CONDITIONS
    + """
    AND ($12::timestamptz IS NULL OR (r.created_at, r.id) < ($12, $13::uuid))
ORDER BY r.created_at DESC, r.id DESC
LIMIT $14
"""
)

FIND_REQUESTS: LiteralString = (
    SELECT_REQUEST
    + """
WHERE r.id = ANY($1::uuid[]) AND r.project_id || '/' || r.workspace LIKE ANY($2::text[])
"""
)


async def find_requests(
    connection: Connection, request_ids: Sequence[UUID], *, visible: Sequence[str]
) -> dict[UUID, RequestView]:
    """Return those of the requests that are in the visible workspaces, by their ids."""
    rows = await connection.fetch(FIND_REQUESTS, request_ids, visible)
    return {view.request_id: view for view in await _with_items(connection, rows)}


ITEMS_OF_REQUESTS: LiteralString = """
SELECT
    i.request_id, i.pending_item_id, i.state, i.batch_id, i.error, b.package_name, b.release_package_id,
    b.wait_reason, b.not_before, b.counted_attempts, d.due_from
FROM release_items AS i
LEFT JOIN release_items AS d ON d.id = coalesce(i.holder_id, i.id) AND d.due_from > now()
LEFT JOIN batches AS b ON b.id = i.batch_id
WHERE i.request_id = ANY($1::uuid[])
ORDER BY i.request_id, i.position
"""

# How many items the requests have together, request by request in the given order.
COUNT_ITEMS: LiteralString = """
SELECT
    sum(coalesce(r.item_count, (SELECT count(*) FROM release_items AS i WHERE i.request_id = r.id)))
        OVER (ORDER BY g.place) AS items
FROM unnest($1::uuid[]) WITH ORDINALITY AS g (id, place)
JOIN release_requests AS r ON r.id = g.id
ORDER BY g.place
"""

# A plan for all values would have to serve every combination of filters, and would serve none.
PLAN_FOR_VALUES: LiteralString = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)"


async def list_requests(
    connection: Connection,
    wanted: RequestFilter,
    *,
    visible: Sequence[str],
    behind: ListPosition | None,
    limit: int,
) -> RequestRows:
    """Return up to ``limit`` requests from behind a position, in a transaction of the caller's."""
    await connection.execute(PLAN_FOR_VALUES)
    rows = await connection.fetch(
        LIST_REQUESTS,
        *conditions(wanted, visible),
        behind and behind.created_at,
        behind and behind.request_id,
        limit + 1,
    )
    shown = await _as_many_as_fit(connection, rows[:limit])
    requests = await _with_items(connection, shown)
    return RequestRows(requests=requests, has_more=len(rows) > len(shown))


def conditions(wanted: RequestFilter, visible: Sequence[str]) -> tuple[object, ...]:
    """Return the parameters of the conditions that a filter and the caller's workspaces make."""
    return (
        visible,
        exact_workspaces(visible),
        wanted.project_id,
        wanted.workspace,
        wanted.state,
        wanted.error_code,
        wanted.item,
        dict(wanted.labels) or None,
        wanted.idempotency_key,
        wanted.created_after,
        wanted.created_before,
    )


def exact_workspaces(visible: Sequence[str]) -> list[str] | None:
    """Return the workspaces that LIKE patterns ``project/workspace`` name one by one; None where one is a pattern."""
    if any("%" in pattern.replace("\\%", "") for pattern in visible):
        return None
    plain = [pattern.replace("\\_", "_").replace("\\%", "%").replace("\\\\", "\\") for pattern in visible]
    return [place.partition("/")[2] for place in plain]


async def _as_many_as_fit(connection: Connection, rows: Sequence[Record]) -> Sequence[Record]:
    counts = await connection.fetch(COUNT_ITEMS, [row["id"] for row in rows])
    fitting = sum(1 for _ in takewhile(lambda row: row["items"] <= _MOST_ITEMS, counts))
    return rows[: max(fitting, 1)]


async def _with_items(connection: Connection, rows: Sequence[Record]) -> tuple[RequestView, ...]:
    items = await connection.fetch(ITEMS_OF_REQUESTS, [row["id"] for row in rows])
    of_request = {
        request_id: list(group) for request_id, group in groupby(items, key=lambda item: item["request_id"])
    }
    return tuple(RequestView.from_rows(row, of_request.get(row["id"], ())) for row in rows)
