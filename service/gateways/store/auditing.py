"""The rules of the audit as statements: each returns the rows that break it, up to a limit, and their number.

All run in one snapshot, so that they see one moment.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString

from asyncpg import Record

from service.core.auditing import MOST_NAMED, Finding, OurPackage, Patience, Rule, RuleReport
from service.gateways.store import audit_bonds
from service.gateways.store.database import Connection
from service.gateways.store.progress import derived_state

#: A single statement of the audit reads whole tables, so it may take longer than others.
_LONGEST_STATEMENT = timedelta(minutes=2)
_LOCK_KEY = 0x0A0D17
BEGIN_AUDIT: LiteralString = """
SELECT set_config('statement_timeout', $1, TRUE), set_config('work_mem', '64MB', TRUE), now() AS at
"""


async def begin(connection: Connection) -> datetime:
    """Prepare this transaction for long statements; return its moment."""
    milliseconds = f"{int(_LONGEST_STATEMENT.total_seconds() * 1000)}"
    at: datetime = await connection.fetchval(BEGIN_AUDIT, milliseconds, column=2)
    return at


TRY_AUDIT_LOCK: LiteralString = "SELECT pg_try_advisory_xact_lock($1)"


async def try_lock(connection: Connection) -> bool:
    """Keep other workers from auditing until this transaction ends; False where one does already."""
    is_ours: bool = await connection.fetchval(TRY_AUDIT_LOCK, _LOCK_KEY)
    return is_ours


# Requests that are not done although nothing of them is under way, and items that wait for something that is over.
FIND_STRANDED: LiteralString = """
WITH live AS (
    SELECT
        i.id, i.request_id, i.pending_item_id, i.state, i.holder_id,
        CASE
            WHEN i.holder_id IS NOT NULL
                THEN h.state NOT IN ('released', 'rejected', 'failed', 'cancelled', 'expired')
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
    return _report(Rule.A1, await _fetch(connection, FIND_STRANDED, MOST_NAMED))


# What nobody has looked at for too long. A key that is held back, or of which a batch has just moved, is looked at.
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
    WHERE
        i.state = 'waiting' AND i.holder_id IS NULL AND i.due_from < now() - $2::interval
        AND NOT EXISTS (SELECT FROM looked_at AS k WHERE k.batch_key = i.batch_key)
    UNION ALL
    SELECT
        'batch ' || b.id,
        'is ' || b.state || ' and due since ' || coalesce(b.not_before, b.created_at) || ', and nobody has looked'
    FROM batches AS b
    WHERE
        b.state IN ('sealed', 'refused') AND coalesce(b.not_before, b.created_at) < now() - $2::interval
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


async def find_overdue(connection: Connection, patience: Patience) -> RuleReport:
    """A2: every live row has something that will wake it within the sweep period."""
    overdue = await _fetch(connection, FIND_OVERDUE, MOST_NAMED, patience.overdue)
    asleep = await _fetch(connection, audit_bonds.FIND_ASLEEP, MOST_NAMED, patience.overdue, patience.pause)
    return _report(Rule.A2, overdue, asleep)


# Pending items in several released batches; rows that are attached count too.
FIND_DOUBLES: LiteralString = """
WITH taken AS (
    SELECT DISTINCT i.project_id, i.workspace, i.pending_item_id, i.batch_id
    FROM release_items AS i
    JOIN batches AS b ON b.id = i.batch_id
    WHERE i.state = 'released' AND b.state = 'released'
)
SELECT
    'item ' || t.project_id || '/' || t.workspace || '/' || t.pending_item_id AS name,
    'is in released batches ' || string_agg(t.batch_id::text, ', ') AS detail,
    count(*) OVER () AS count
FROM taken AS t
GROUP BY t.project_id, t.workspace, t.pending_item_id
HAVING count(*) > 1
ORDER BY name
LIMIT $1
"""


async def find_doubles(connection: Connection, _patience: Patience) -> RuleReport:
    """A3: no pending item is in two released batches."""
    return _report(Rule.A3, await _fetch(connection, FIND_DOUBLES, MOST_NAMED))


# Evidence is an answer with the package's id, a look that found it, or an operator's decision.
FIND_UNPROVEN: LiteralString = """
WITH proven AS (
    SELECT DISTINCT a.batch_id
    FROM attempts AS a
    JOIN batches AS b ON b.id = a.batch_id AND b.state = 'released'
    WHERE
        a.manual
        OR (a.outcome = 'released' AND a.evidence ->> 'release_package_id' = b.release_package_id)
        OR (
            a.evidence -> 'looks' -> -1 ->> 'saw' = 'found'
            AND a.evidence -> 'looks' -> -1 ->> 'release_package_id' = b.release_package_id
        )
), wrong AS (
    SELECT 'batch ' || b.id AS name, 'is released, but no attempt shows it' AS detail
    FROM batches AS b
    WHERE b.state = 'released' AND NOT EXISTS (SELECT FROM proven AS p WHERE p.batch_id = b.id)
    UNION ALL
    SELECT
        'item ' || i.pending_item_id || ' of request ' || i.request_id,
        'is released, but its batch has no release package'
    FROM release_items AS i
    LEFT JOIN batches AS b ON b.id = i.batch_id
    WHERE i.state = 'released' AND (b.state IS DISTINCT FROM 'released' OR b.release_package_id IS NULL)
    UNION ALL
    SELECT 'batch ' || b.id, 'was made of ' || b.item_count || ' items, and has ' || count(i.id)
    FROM batches AS b
    LEFT JOIN release_items AS i ON i.batch_id = b.id AND i.holder_id IS NULL
    WHERE b.state <> 'split'
    GROUP BY b.id, b.item_count
    HAVING count(i.id) <> b.item_count
    UNION ALL
    SELECT
        'package ' || b.release_package_id || ' of ' || b.project_id || '/' || b.workspace,
        'belongs to batches ' || string_agg(b.id::text, ', ')
    FROM batches AS b
    WHERE b.state = 'released'
    GROUP BY b.project_id, b.workspace, b.release_package_id
    HAVING count(*) > 1
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
"""


async def find_unproven(connection: Connection, _patience: Patience) -> RuleReport:
    """A4: every released item has exactly one package id and its attempt's evidence."""
    return _report(Rule.A4, await _fetch(connection, FIND_UNPROVEN, MOST_NAMED))


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


async def find_open(connection: Connection, patience: Patience) -> RuleReport:
    """A5: no attempt is without an outcome for longer than the in-doubt budget."""
    rows = await _fetch(connection, FIND_OPEN, MOST_NAMED, patience.attempt, patience.doubt)
    return _report(Rule.A5, rows, await _fetch(connection, audit_bonds.FIND_UNTRACED, MOST_NAMED))


# Requests whose events have a gap or end elsewhere, or whose items come to another state.
FIND_DISAGREEING: LiteralString = """
WITH told AS (
    SELECT e.request_id, count(*) AS count, max(e.seq) AS last FROM request_events AS e GROUP BY e.request_id
), come_to AS (
    SELECT i.request_id, DERIVED_STATE AS state FROM release_items AS i GROUP BY i.request_id
), wrong AS (
    SELECT
        'request ' || r.id AS name,
        'is ' || r.state || ' at version ' || r.version || '; its ' || coalesce(t.count, 0) || ' events end with '
        || coalesce(e.state::text, 'nothing') || ', its items come to ' || coalesce(c.state, 'nothing') AS detail
    FROM release_requests AS r
    LEFT JOIN told AS t ON t.request_id = r.id
    LEFT JOIN request_events AS e ON e.request_id = r.id AND e.seq = r.version
    LEFT JOIN come_to AS c ON c.request_id = r.id
    WHERE
        t.count IS DISTINCT FROM r.version OR t.last IS DISTINCT FROM r.version
        OR e.state IS DISTINCT FROM r.state OR c.state IS DISTINCT FROM r.state::text
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
""".replace("DERIVED_STATE", derived_state())


async def find_disagreeing(connection: Connection, _patience: Patience) -> RuleReport:
    """A6: counts by state agree with the events."""
    rows = await _fetch(connection, FIND_DISAGREEING, MOST_NAMED)
    return _report(Rule.A6, rows, await _fetch(connection, audit_bonds.FIND_APART, MOST_NAMED))


# Where the vendor's lists are worth reading.
KNOWN_PLACES: LiteralString = """
SELECT project_id, workspace FROM batches
UNION
SELECT project_id, workspace FROM release_requests
ORDER BY 1, 2
"""


async def known_places(connection: Connection) -> list[tuple[str, str]]:
    """Return project and workspace of everything that was ever asked for."""
    return [(row["project_id"], row["workspace"]) for row in await connection.fetch(KNOWN_PLACES)]


BATCHES_OF_PLACE: LiteralString = """
SELECT
    b.id, b.state, b.finished_at IS NULL AS is_live, b.package_name, b.apply_user_id, b.release_package_id,
    ARRAY(
        SELECT i.pending_item_id FROM release_items AS i WHERE i.batch_id = b.id AND i.holder_id IS NULL
    ) AS pending_item_ids
FROM batches AS b
WHERE b.project_id = $1 AND b.workspace = $2
"""


async def batches_of_place(connection: Connection, project_id: str, workspace: str) -> list[OurPackage]:
    """Return every batch of a workspace."""
    return [
        OurPackage(
            batch_id=str(row["id"]),
            state=row["state"],
            is_live=row["is_live"],
            package_name=row["package_name"],
            apply_user_id=row["apply_user_id"],
            release_package_id=row["release_package_id"],
            pending_item_ids=frozenset(row["pending_item_ids"]),
        )
        for row in await connection.fetch(BATCHES_OF_PLACE, project_id, workspace)
    ]


async def _fetch(connection: Connection, statement: LiteralString, *arguments: object) -> list[Record]:
    return await connection.fetch(statement, *arguments, timeout=_LONGEST_STATEMENT.total_seconds())


def _report(rule: Rule, *found: Sequence[Record]) -> RuleReport:
    findings = [Finding(rule=rule, row=row["name"], detail=row["detail"]) for rows in found for row in rows]
    count = sum(rows[0]["count"] for rows in found if rows)
    return RuleReport(rule=rule, count=count, findings=tuple(findings[:MOST_NAMED]))
