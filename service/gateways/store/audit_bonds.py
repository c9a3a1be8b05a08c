"""More of what the audit looks for: pauses that do not end, calls without a trace, and rows that do not fit together.

Each statement adds to a rule of ``auditing``; a change by hand can break one of these and nothing else.
"""

from typing import LiteralString

# What nothing will wake: its time lies further ahead than any pause that the workers give.
FIND_ASLEEP: LiteralString = """
WITH wrong AS (
    SELECT
        'item ' || i.pending_item_id || ' of request ' || i.request_id AS name,
        'waits until ' || i.due_from || ', later than its request asks for' AS detail
    FROM release_items AS i
    JOIN release_requests AS r ON r.id = i.request_id
    WHERE
        i.state = 'waiting' AND i.holder_id IS NULL
        AND i.due_from > greatest(r.not_before, now()) + $2::interval
    UNION ALL
    SELECT
        'item ' || i.pending_item_id || ' of request ' || i.request_id,
        'waits, though its deadline was ' || i.deadline
    FROM release_items AS i
    WHERE i.state = 'waiting' AND i.holder_id IS NULL AND i.deadline < now() - $2::interval
    UNION ALL
    SELECT 'batch ' || b.id, 'is ' || b.state || ', and nobody looks before ' || b.not_before
    FROM batches AS b
    WHERE b.state IN ('sealed', 'refused', 'in_doubt') AND b.not_before > now() + $3::interval
    UNION ALL
    SELECT 'batch ' || b.id, 'has a lease that ends only at ' || b.lease_expires_at
    FROM batches AS b
    WHERE b.state = 'sending' AND b.lease_expires_at > now() + $2::interval
    UNION ALL
    SELECT 'batch key ' || h.batch_key, 'is held back until ' || h.until
    FROM holds AS h
    WHERE h.until > now() + $3::interval
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
"""

# Calls that left no trace, or one that does not fit the batch.
FIND_UNTRACED: LiteralString = """
WITH calls AS (
    SELECT
        a.batch_id, count(*) AS count, max(a.number) AS last, max(a.epoch) AS epoch,
        bool_or(a.outcome IS NULL) AS is_open
    FROM attempts AS a
    GROUP BY a.batch_id
)
SELECT
    'batch ' || b.id AS name,
    'is ' || b.state || ' in epoch ' || b.epoch || '; its ' || coalesce(c.count, 0) || ' attempts go up to number '
    || coalesce(c.last, 0) || ' and epoch ' || coalesce(c.epoch, 0) || ', and '
    || CASE WHEN c.is_open THEN 'one is' ELSE 'none is' END || ' open' AS detail,
    count(*) OVER () AS count
FROM batches AS b
LEFT JOIN calls AS c ON c.batch_id = b.id
WHERE
    c.count <> c.last OR c.epoch > b.epoch OR (b.state = 'sending' AND c.is_open IS NOT TRUE)
    OR (b.state IN ('in_doubt', 'needs_attention') AND c.count IS NULL)
ORDER BY name
LIMIT $1
"""

# Rows that say different things of one item, and requests that went on after they were done.
FIND_APART: LiteralString = """
WITH wrong AS (
    SELECT
        'item ' || i.pending_item_id || ' of request ' || i.request_id AS name,
        'has another project, workspace or batch key than its request' AS detail
    FROM release_items AS i
    JOIN release_requests AS r ON r.id = i.request_id
    WHERE (i.project_id, i.workspace, i.batch_key) <> (r.project_id, r.workspace, r.batch_key)
    UNION ALL
    SELECT
        'item ' || i.pending_item_id || ' of request ' || i.request_id,
        'asks for another workspace, applicant or approvers than batch ' || b.id
    FROM release_items AS i
    JOIN release_requests AS r ON r.id = i.request_id
    JOIN batches AS b ON b.id = i.batch_id
    WHERE
        i.holder_id IS NULL AND (
            (b.batch_key, b.project_id, b.workspace, b.apply_user_id)
            <> (r.batch_key, r.project_id, r.workspace, r.apply_user_id)
            OR NOT (b.approver_ids @> r.approver_ids AND b.approver_ids <@ r.approver_ids)
        )
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
    SELECT
        'item ' || i.pending_item_id || ' of request ' || i.request_id,
        'is ' || i.state || ' in batch ' || b.id || ', which is ' || b.state
    FROM release_items AS i
    JOIN batches AS b ON b.id = i.batch_id
    WHERE
        i.holder_id IS NULL AND i.state::text <> CASE b.state
            WHEN 'sealed' THEN 'batched' WHEN 'refused' THEN 'batched' WHEN 'sending' THEN 'releasing'
            ELSE b.state::text
        END
    UNION ALL
    SELECT 'request ' || e.request_id, 'was ' || e.state || ' with event ' || e.seq || ', and went on'
    FROM request_events AS e
    JOIN release_requests AS r ON r.id = e.request_id
    WHERE
        e.seq < r.version
        AND e.state IN ('released', 'partly_released', 'rejected', 'failed', 'cancelled', 'expired')
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
"""
