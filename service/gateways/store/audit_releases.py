"""Rules of the audit about what was released: A3 that it was once, A4 that there is evidence."""

from typing import LiteralString
from uuid import UUID

from service.core.auditing import Patience, Rule, RuleReport
from service.core.ids import first_id_within
from service.gateways.store.auditing import fetch_wrong, report_of
from service.gateways.store.database import Connection

# Pending items in several released batches; rows that are attached count too.
FIND_DOUBLES: LiteralString = """
WITH shared AS (
    SELECT i.project_id, i.workspace, i.pending_item_id
    FROM release_items AS i
    WHERE i.state = 'released'
    GROUP BY i.project_id, i.workspace, i.pending_item_id
    HAVING count(*) > 1
)
SELECT
    'item ' || i.project_id || '/' || i.workspace || '/' || i.pending_item_id AS name,
    'is in released batches ' || string_agg(DISTINCT i.batch_id::text, ', ') AS detail,
    count(*) OVER () AS count
FROM shared AS s
JOIN release_items AS i
    ON (i.project_id, i.workspace, i.pending_item_id) = (s.project_id, s.workspace, s.pending_item_id)
JOIN batches AS b ON b.id = i.batch_id
WHERE i.state = 'released' AND b.state = 'released'
GROUP BY i.project_id, i.workspace, i.pending_item_id
HAVING count(DISTINCT i.batch_id) > 1
ORDER BY name
LIMIT $1
"""


async def find_doubles(connection: Connection, _patience: Patience) -> RuleReport:
    """A3: no pending item is in two released batches."""
    return report_of(Rule.A3, await fetch_wrong(connection, FIND_DOUBLES))


# Evidence is an answer with the package's id, a look that found it, or an operator's decision. A batch that ended
# without a package may have given its items back, to be tried again.
FIND_UNPROVEN: LiteralString = """
WITH proven AS (
    SELECT DISTINCT a.batch_id
    FROM attempts AS a
    JOIN batches AS b ON b.id = a.batch_id AND b.state = 'released'
    WHERE
        a.evidence -> 'resolution' ->> 'release_package_id' = b.release_package_id
        OR (
            a.outcome = 'released' AND a.http_status BETWEEN 200 AND 299
            AND a.evidence ->> 'release_package_id' = b.release_package_id
        )
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
    WHERE b.state NOT IN ('split', 'rejected', 'failed') AND b.id >= $2 -- of an older one some may be pruned
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


# Second packages: ids in the evidence that are not the batch's own, and batches that were released again.
FIND_SECOND_PACKAGES: LiteralString = """
WITH named AS (
    SELECT a.batch_id, a.number, a.evidence ->> 'release_package_id' AS package_id FROM attempts AS a
    UNION
    SELECT a.batch_id, a.number, a.evidence -> 'resolution' ->> 'release_package_id' FROM attempts AS a
    UNION
    SELECT a.batch_id, a.number, l.look ->> 'release_package_id'
    FROM attempts AS a, jsonb_path_query(a.evidence, '$.looks[*] ? (@.saw == "found")') AS l (look)
), wrong AS (
    SELECT
        'attempt ' || n.number || ' of batch ' || n.batch_id AS name,
        'shows package ' || n.package_id || ', but its batch has '
        || coalesce('package ' || b.release_package_id, 'none') AS detail
    FROM named AS n
    JOIN batches AS b ON b.id = n.batch_id
    WHERE n.package_id <> coalesce(b.release_package_id, '')
    UNION ALL
    SELECT 'batch ' || a.batch_id, 'was released by attempts ' || string_agg(a.number::text, ', ' ORDER BY a.number)
    FROM attempts AS a
    WHERE a.outcome = 'released'
    GROUP BY a.batch_id
    HAVING count(*) > 1
)
SELECT w.name, w.detail, count(*) OVER () AS count FROM wrong AS w ORDER BY w.name LIMIT $1
"""


async def find_unproven(connection: Connection, patience: Patience) -> RuleReport:
    """A4: every released item has exactly one package id and its attempt's evidence."""
    oldest = first_id_within(patience.kept_for) if patience.kept_for else UUID(int=0)
    unproven = await fetch_wrong(connection, FIND_UNPROVEN, oldest)
    return report_of(Rule.A4, unproven, await fetch_wrong(connection, FIND_SECOND_PACKAGES))
