"""The rule of the audit about rows that belong together, A6: they say the same."""

from datetime import timedelta
from typing import LiteralString

from service.core.auditing import Patience, Rule, RuleReport
from service.gateways.store.auditing import fetch_wrong, report_of
from service.gateways.store.database import Connection
from service.gateways.store.progress import derived_state

# Requests whose events have a gap or end elsewhere, or whose items are too few, too many, or come to another state.
# Of a request without a count the last item tells how many there were.
FIND_DISAGREEING: LiteralString = """
WITH told AS (
    SELECT e.request_id, count(*) AS count, max(e.seq) AS last FROM request_events AS e GROUP BY e.request_id
), come_to AS (
    SELECT i.request_id, DERIVED_STATE AS state, count(*) AS count, max(i.position) + 1 AS up_to
    FROM release_items AS i
    GROUP BY i.request_id
), wrong AS (
    SELECT
        'request ' || r.id AS name,
        'is ' || r.state || ' at version ' || r.version || '; its ' || coalesce(t.count, 0) || ' events end with '
        || coalesce(e.state::text, 'nothing') || ', its ' || coalesce(c.count, 0) || ' items of '
        || coalesce(r.item_count, c.up_to, 1) || ' come to ' || coalesce(c.state, 'nothing') AS detail
    FROM release_requests AS r
    LEFT JOIN told AS t ON t.request_id = r.id
    LEFT JOIN request_events AS e ON e.request_id = r.id AND e.seq = r.version
    LEFT JOIN come_to AS c ON c.request_id = r.id
    WHERE
        t.count IS DISTINCT FROM r.version OR t.last IS DISTINCT FROM r.version
        OR e.state IS DISTINCT FROM r.state OR c.state IS DISTINCT FROM r.state::text
        OR c.count <> c.up_to OR c.count <> r.item_count
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
""".replace("DERIVED_STATE", derived_state())

# Rows that say different things of one item, and requests that went on after they were done, unless somebody wanted it.
# A row that shared the end of another, which was then retried, stands alone in a batch that was not made for its key.
FIND_APART: LiteralString = """
WITH compared AS (
    SELECT
        'item ' || i.pending_item_id || ' of request ' || i.request_id AS name,
        CASE
            WHEN (i.project_id, i.workspace, i.batch_key) <> (r.project_id, r.workspace, r.batch_key)
                THEN 'has another project, workspace or batch key than its request'
            WHEN i.holder_id IS NOT NULL THEN NULL
            WHEN
                i.state NOT IN ('rejected', 'failed')
                AND (
                    (b.batch_key, b.project_id, b.workspace, b.apply_user_id)
                    <> (r.batch_key, r.project_id, r.workspace, r.apply_user_id)
                    OR NOT (b.approver_ids @> r.approver_ids AND b.approver_ids <@ r.approver_ids)
                )
                THEN 'asks for another workspace, applicant or approvers than batch ' || b.id
            WHEN
                i.state::text <> CASE b.state
                    WHEN 'sealed' THEN 'batched' WHEN 'refused' THEN 'batched' WHEN 'sending' THEN 'releasing'
                    WHEN 'split' THEN 'rejected'
                    ELSE b.state::text
                END
                THEN 'is ' || i.state || ' in batch ' || b.id || ', which is ' || b.state
        END AS detail
    FROM release_items AS i
    JOIN release_requests AS r ON r.id = i.request_id
    LEFT JOIN batches AS b ON b.id = i.batch_id
), wrong AS (
    SELECT c.name, c.detail FROM compared AS c WHERE c.detail IS NOT NULL
    UNION ALL
    SELECT
        'item ' || i.pending_item_id || ' of request ' || i.request_id,
        'is attached to item ' || h.pending_item_id || ' of request ' || h.request_id || ', which does not hold it'
    FROM release_items AS i
    JOIN release_items AS h ON h.id = i.holder_id
    WHERE
        h.holder_id IS NOT NULL
        OR (i.project_id, i.workspace, i.pending_item_id) <> (h.project_id, h.workspace, h.pending_item_id)
    UNION ALL
    SELECT 'request ' || e.request_id, 'was ' || e.state || ' with event ' || e.seq || ', and went on'
    FROM request_events AS e
    JOIN release_requests AS r ON r.id = e.request_id
    WHERE
        e.seq < r.version
        AND e.state IN ('released', 'partly_released', 'rejected', 'failed', 'cancelled', 'expired')
        AND NOT (
            e.state IN ('rejected', 'failed')
            AND EXISTS (
                SELECT FROM request_events AS n
                WHERE n.request_id = e.request_id AND n.seq = e.seq + 1 AND n.type = 'request.retried'
            )
        )
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
"""


# Keys and items that nobody gives free any more, and rows that hold an item which another may ask for. What ended
# before the retention may have given up what it held, before it is dropped.
FIND_MISKEPT: LiteralString = """
WITH wrong AS (
    SELECT
        'key ' || k.idempotency_key || ' of ' || k.caller AS name,
        'is kept for request ' || k.request_id || ', which is not there or has another' AS detail
    FROM idempotency_keys AS k
    LEFT JOIN release_requests AS r
        ON r.id = k.request_id AND r.idempotency_key = k.idempotency_key AND r.caller = k.caller
    WHERE r.id IS NULL
    UNION ALL
    SELECT
        'item ' || h.pending_item_id || ' of request ' || h.request_id,
        'is kept for position ' || h.position || ', which does not hold it'
    FROM item_holders AS h
    LEFT JOIN release_items AS i
        ON i.request_id = h.request_id AND i.position = h.position AND i.pending_item_id = h.pending_item_id
        AND i.project_id = h.project_id AND i.workspace = h.workspace
        AND i.holder_id IS NULL AND NOT i.is_free
    WHERE i.request_id IS NULL
    UNION ALL
    SELECT 'request ' || r.id, 'has an idempotency key that another may use'
    FROM release_requests AS r
    WHERE
        r.idempotency_key IS NOT NULL AND coalesce(r.finished_at >= now() - $2::interval, TRUE)
        AND NOT EXISTS (SELECT FROM idempotency_keys AS k WHERE k.request_id = r.id)
    UNION ALL
    SELECT 'item ' || i.pending_item_id || ' of request ' || i.request_id, 'is held, and another may ask for it'
    FROM release_items AS i
    JOIN release_requests AS r ON r.id = i.request_id
    WHERE
        i.holder_id IS NULL AND NOT i.is_free AND coalesce(r.finished_at >= now() - $2::interval, TRUE)
        AND NOT EXISTS (SELECT FROM item_holders AS h WHERE h.request_id = i.request_id AND h.position = i.position)
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
"""
_FOR_EVER = timedelta(days=36_500)


async def find_disagreeing(connection: Connection, patience: Patience) -> RuleReport:
    """A6: counts by state agree with the events."""
    disagreeing = await fetch_wrong(connection, FIND_DISAGREEING)
    apart = await fetch_wrong(connection, FIND_APART)
    miskept = await fetch_wrong(connection, FIND_MISKEPT, patience.kept_for or _FOR_EVER)
    return report_of(Rule.A6, disagreeing, apart, miskept)
