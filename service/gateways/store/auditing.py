"""What all rules of the audit share: the transaction, the form of a report, and what is held against the vendor.

The statement of a rule returns the rows that break it, up to a limit, and their number. All run in one snapshot, so
that they see one moment.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString

from asyncpg import Record

from service.core.auditing import MOST_NAMED, Finding, OurPackage, Rule, RuleReport
from service.gateways.store.database import Connection

#: The statements of the audit read whole tables, so they may take longer than others.
LONGEST_AUDIT = timedelta(minutes=15)
_LONGEST_STATEMENT = timedelta(minutes=2)
#: Any number that nothing else locks.
_LOCK_KEY = 0x0A0D17
BEGIN_AUDIT: LiteralString = """
SELECT
    now() AS at, set_config('statement_timeout', $1, TRUE), set_config('work_mem', '64MB', TRUE),
    set_config('enable_seqscan', 'on', TRUE), set_config('enable_hashjoin', 'on', TRUE),
    set_config('enable_mergejoin', 'on', TRUE), set_config('plan_cache_mode', 'auto', TRUE)
"""


async def begin(connection: Connection) -> datetime:
    """Prepare this transaction for long statements; return its moment."""
    milliseconds = f"{int(_LONGEST_STATEMENT.total_seconds() * 1000)}"
    at: datetime = await connection.fetchval(BEGIN_AUDIT, milliseconds)
    return at


TRY_AUDIT_LOCK: LiteralString = "SELECT pg_try_advisory_xact_lock($1)"


async def try_lock(connection: Connection) -> bool:
    """Keep other workers from auditing until this transaction ends; False where one does already."""
    is_ours: bool = await connection.fetchval(TRY_AUDIT_LOCK, _LOCK_KEY)
    return is_ours


async def fetch_wrong(connection: Connection, statement: LiteralString, *arguments: object) -> list[Record]:
    """Run a statement of a rule, whose first argument is how many rows are named."""
    seconds = _LONGEST_STATEMENT.total_seconds()
    return await connection.fetch(statement, MOST_NAMED, *arguments, timeout=seconds)


def report_of(rule: Rule, *found: Sequence[Record]) -> RuleReport:
    """Put together what the statements of a rule found."""
    findings = [Finding(rule=rule, row=row["name"], detail=row["detail"]) for rows in found for row in rows]
    count = sum(rows[0]["count"] for rows in found if rows)
    return RuleReport(rule=rule, count=count, findings=tuple(findings[:MOST_NAMED]))


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
    EXISTS (
        SELECT FROM attempts AS a
        WHERE a.batch_id = b.id AND a.evidence -> 'resolution' ->> 'release_package_id' = b.release_package_id
    ) AS is_by_operator,
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
            is_by_operator=row["is_by_operator"],
            pending_item_ids=frozenset(row["pending_item_ids"]),
        )
        for row in await connection.fetch(BATCHES_OF_PLACE, project_id, workspace)
    ]
