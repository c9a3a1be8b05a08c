"""Rules of the audit about what waits: A1 that it has a reason, A2 that something will wake it, A5 that calls end."""

from typing import LiteralString

from service.core.auditing import Patience, Rule, RuleReport
from service.gateways.store.auditing import fetch_wrong, report_of
from service.gateways.store.database import Connection

# Requests that are not done although nothing of them is under way, and items that wait for something that is over.
FIND_STRANDED: LiteralString = """
WITH live AS (
    SELECT
        i.id, i.request_id, i.pending_item_id, i.state, i.holder_id,
        CASE
            WHEN i.holder_id IS NOT NULL
                THEN coalesce(h.state NOT IN ('released', 'rejected', 'failed', 'cancelled', 'expired'), FALSE)
            WHEN i.state = 'waiting' THEN TRUE
            ELSE b.finished_at IS NULL
        END AS waits
    FROM release_items AS i
    LEFT JOIN release_items AS h ON h.id = i.holder_id
    LEFT JOIN batches AS b ON b.id = i.batch_id
    WHERE i.state IN ('waiting', 'batched', 'releasing', 'in_doubt', 'needs_attention')
), wrong AS (
    SELECT
        'request ' || r.id AS name,
        'is ' || r.state || ', but none of its items is under way' AS detail
    FROM release_requests AS r
    WHERE r.finished_at IS NULL AND NOT EXISTS (SELECT FROM live AS l WHERE l.request_id = r.id)
    UNION ALL
    SELECT
        'item ' || l.pending_item_id || ' of request ' || l.request_id,
        'is ' || l.state || ', but what it waits for is over'
    FROM live AS l
    WHERE NOT l.waits
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
"""


async def find_stranded(connection: Connection, _patience: Patience) -> RuleReport:
    """A1: every accepted request is done or has a live reason to wait."""
    return report_of(Rule.A1, await fetch_wrong(connection, FIND_STRANDED))


# What nobody has looked at for too long. A key that is held back, or of which a batch has just moved, is looked at.
# What is paused has a reason to wait, and so has what an operator has just set going again; a workspace may also have a
# longer linger time than others.
FIND_OVERDUE: LiteralString = """
WITH looked_at AS (
    SELECT batch_key FROM holds WHERE until > now() - $2::interval
    UNION
    SELECT batch_key FROM batches WHERE state = 'sending' OR updated_at > now() - $2::interval
), wrong AS (
    SELECT
        'item ' || i.pending_item_id || ' of request ' || i.request_id AS name,
        'waits since ' || i.due_from || ', and nobody has looked' AS detail
    FROM release_items AS i
    LEFT JOIN workspaces AS w ON w.project_id = i.project_id AND w.workspace = i.workspace
    WHERE
        i.state = 'waiting' AND i.holder_id IS NULL AND w.paused_at IS NULL
        AND greatest(i.due_from, w.changed_at) < now() - $2::interval - coalesce(w.linger, interval '0')
        AND NOT EXISTS (SELECT FROM looked_at AS k WHERE k.batch_key = i.batch_key)
    UNION ALL
    SELECT
        'batch ' || b.id,
        'is ' || b.state || ' and due since ' || coalesce(b.not_before, b.created_at) || ', and nobody has looked'
    FROM batches AS b
    LEFT JOIN workspaces AS w ON w.project_id = b.project_id AND w.workspace = b.workspace
    WHERE
        b.state IN ('sealed', 'refused') AND (w.paused_at IS NULL OR b.state = 'refused')
        AND greatest(coalesce(b.not_before, b.created_at), w.changed_at) < now() - $2::interval
        AND NOT EXISTS (SELECT FROM looked_at AS k WHERE k.batch_key = b.batch_key)
    UNION ALL
    SELECT 'batch ' || b.id, 'its lease ended at ' || b.lease_expires_at || ', and nobody took it over'
    FROM batches AS b
    WHERE b.state = 'sending' AND b.lease_expires_at < now() - $2::interval
    UNION ALL
    SELECT
        'batch ' || b.id,
        coalesce('is in doubt; its look was due at ' || b.not_before, 'is in doubt, and no look is planned')
    FROM batches AS b
    WHERE b.state = 'in_doubt' AND coalesce(b.not_before, '-infinity') < now() - $2::interval
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
"""

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
    UNION ALL
    SELECT 'breaker of ' || o.project_id || '/' || o.workspace, 'is open until ' || o.until
    FROM breakers AS o
    WHERE o.until > now() + $3::interval
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
"""


async def find_overdue(connection: Connection, patience: Patience) -> RuleReport:
    """A2: every live row has something that will wake it within the sweep period."""
    overdue = await fetch_wrong(connection, FIND_OVERDUE, patience.overdue)
    asleep = await fetch_wrong(connection, FIND_ASLEEP, patience.overdue, patience.pause)
    return report_of(Rule.A2, overdue, asleep)


# Calls that were never concluded, and doubts that were neither settled nor handed to an operator.
FIND_OPEN: LiteralString = """
WITH wrong AS (
    SELECT
        'attempt ' || a.number || ' of batch ' || a.batch_id AS name,
        'has no outcome since ' || a.started_at || ', and its batch is ' || b.state AS detail
    FROM attempts AS a
    JOIN batches AS b ON b.id = a.batch_id
    WHERE a.outcome IS NULL AND (b.state <> 'sending' OR a.started_at < now() - $2::interval)
    UNION ALL
    SELECT 'batch ' || b.id, 'is in doubt since ' || l.finished_at
    FROM batches AS b
    JOIN LATERAL (
        SELECT a.finished_at FROM attempts AS a WHERE a.batch_id = b.id ORDER BY a.number DESC LIMIT 1
    ) AS l ON TRUE
    WHERE b.state = 'in_doubt' AND l.finished_at < now() - $3::interval
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
    OR (b.state IN ('in_doubt', 'needs_attention', 'refused', 'split', 'rejected') AND c.count IS NULL)
ORDER BY name
LIMIT $1
"""


async def find_open(connection: Connection, patience: Patience) -> RuleReport:
    """A5: no attempt is without an outcome for longer than the in-doubt budget."""
    rows = await fetch_wrong(connection, FIND_OPEN, patience.attempt, patience.doubt)
    return report_of(Rule.A5, rows, await fetch_wrong(connection, FIND_UNTRACED))
