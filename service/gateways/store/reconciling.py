"""Lends batches in doubt to a reconcile, keeps what it saw, and writes what it decided."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, Self
from uuid import UUID

from asyncpg import Record

from service.core.model import AttemptOutcome, Conclusion
from service.core.outcomes import VendorError
from service.gateways.store.batches import error_json
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A batch in doubt, lent to this reconcile: nobody else looks at it until the loan ends."""

    batch_id: UUID
    epoch: int
    project_id: str
    workspace: str
    apply_user_id: str
    package_name: str
    batch_key: UUID
    counted_attempts: int
    created_at: datetime
    pending_item_ids: frozenset[str]
    #: Packages of other batches of ours that have the same name: callers may choose one name for several.
    siblings: frozenset[str]
    attempt_number: int
    in_doubt_since: datetime
    #: Whether the last call was answered with a no.
    was_refused: bool
    #: What the vendor said to the last call, if anything.
    last_words: VendorError | None
    #: What earlier looks saw.
    evidence: Mapping[str, Any]
    now: datetime

    @property
    def absent_for(self) -> timedelta | None:
        """How long ago the first of an unbroken row of looks saw absence."""
        since = self.evidence.get("absent_since")
        return None if since is None else self.now - datetime.fromisoformat(since)

    @property
    def in_doubt_for(self) -> timedelta:
        """How long the doubt has lasted."""
        return self.now - self.in_doubt_since

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Read a row of ``LEND_DOUBTS``."""
        return cls(
            batch_id=row["id"],
            epoch=row["epoch"],
            project_id=row["project_id"],
            workspace=row["workspace"],
            apply_user_id=row["apply_user_id"],
            package_name=row["package_name"],
            batch_key=row["batch_key"],
            counted_attempts=row["counted_attempts"],
            created_at=row["created_at"],
            pending_item_ids=frozenset(row["pending_item_ids"]),
            siblings=frozenset(row["siblings"]),
            attempt_number=row["number"],
            in_doubt_since=row["finished_at"],
            was_refused=row["outcome"] == AttemptOutcome.REJECTED,
            last_words=_words(row),
            evidence=row["evidence"] or {},
            now=row["now"],
        )


def _words(row: Record) -> VendorError | None:
    if row["http_status"] is None:
        return None
    return VendorError(
        status=row["http_status"],
        error_code=row["error_code"],
        error_msg=row["error_msg"],
        request_id=row["vendor_request_id"],
    )


# Batches in doubt that are due for a look, of the few workspaces that have waited longest: the same reads serve all
# of a workspace. The new epoch fences off whoever looked before.
LEND_DOUBTS: LiteralString = """
WITH places AS (
    SELECT project_id, workspace FROM batches
    WHERE state = 'in_doubt' AND not_before <= now()
    GROUP BY project_id, workspace
    ORDER BY min(not_before)
    LIMIT $3
), due AS (
    SELECT b.id FROM batches AS b
    JOIN places AS p ON p.project_id = b.project_id AND p.workspace = b.workspace
    WHERE b.state = 'in_doubt' AND b.not_before <= now()
    ORDER BY b.not_before
    LIMIT $1
    FOR NO KEY UPDATE OF b SKIP LOCKED
), lent AS (
    UPDATE batches AS b SET epoch = epoch + 1, not_before = now() + $2::interval
    FROM due AS d WHERE b.id = d.id
    RETURNING b.id, b.epoch, b.project_id, b.workspace, b.apply_user_id, b.package_name, b.batch_key,
        b.counted_attempts, b.created_at
)
SELECT
    l.id, l.epoch, l.project_id, l.workspace, l.apply_user_id, l.package_name, l.batch_key, l.counted_attempts,
    l.created_at,
    a.number, a.finished_at, a.evidence, a.outcome::text, a.http_status, a.error_code, a.error_msg,
    a.vendor_request_id,
    now() AS now,
    ARRAY(
        SELECT i.pending_item_id FROM release_items AS i WHERE i.batch_id = l.id AND i.holder_id IS NULL
    ) AS pending_item_ids,
    ARRAY(
        SELECT s.release_package_id FROM batches AS s
        WHERE
            s.package_name = l.package_name AND s.project_id = l.project_id AND s.workspace = l.workspace
            AND s.release_package_id IS NOT NULL
    ) AS siblings
FROM lent AS l
JOIN LATERAL (
    SELECT
        t.number, t.finished_at, t.evidence, t.outcome, t.http_status, t.error_code, t.error_msg, t.vendor_request_id
    FROM attempts AS t
    WHERE t.batch_id = l.id ORDER BY t.number DESC LIMIT 1
) AS a ON TRUE
"""


async def lend_doubts(connection: Connection, *, workspaces: int, limit: int, loan: timedelta) -> list[Doubt]:
    """Take some batches in doubt that are due for a look, of so many workspaces, for as long as the loan."""
    rows = await connection.fetch(LEND_DOUBTS, limit, loan, workspaces)
    return [Doubt.from_row(row) for row in rows]


# What a look saw; the batch stays in doubt and is looked at again. The new epoch ends the loan.
KEEP_LOOK: LiteralString = """
WITH batch AS (
    UPDATE batches SET epoch = epoch + 1, not_before = now() + $3::interval
    WHERE id = $1 AND epoch = $2 AND state = 'in_doubt'
    RETURNING id
)
UPDATE attempts AS a SET evidence = $5
FROM batch AS b
WHERE a.batch_id = b.id AND a.number = $4
"""


async def keep_look(
    connection: Connection, doubt: Doubt, *, evidence: Mapping[str, Any], delay: timedelta
) -> None:
    """Keep what a look saw, and have the next one after the delay."""
    await connection.execute(
        KEEP_LOOK, doubt.batch_id, doubt.epoch, delay, doubt.attempt_number, dict(evidence)
    )


# The end of a doubt, written only while the batch is still lent to who decided it.
CONCLUDE_DOUBT: LiteralString = """
WITH batch AS (
    UPDATE batches SET
        state = $3::batch_state, release_package_id = $4, error = $5,
        not_before = CASE WHEN $3::batch_state = 'refused' THEN now() END,
        wait_reason = CASE WHEN $3::batch_state = 'refused' THEN 'reconciling'::wait_reason END,
        updated_at = now(), finished_at = CASE WHEN $3::batch_state IN ('released', 'rejected', 'failed') THEN now() END
    WHERE id = $1 AND epoch = $2 AND state = 'in_doubt'
    RETURNING id
), attempt AS (
    UPDATE attempts AS a SET evidence = $7
    FROM batch AS b WHERE a.batch_id = b.id AND a.number = $6
)
UPDATE release_items AS i SET state = $8, error = $5
FROM batch AS b
WHERE i.batch_id = b.id AND i.holder_id IS NULL
"""


async def conclude_doubt(
    connection: Connection, doubt: Doubt, *, conclusion: Conclusion, evidence: Mapping[str, Any]
) -> bool:
    """End a doubt; False where somebody else has decided meanwhile."""
    status = await connection.execute(
        CONCLUDE_DOUBT,
        doubt.batch_id,
        doubt.epoch,
        conclusion.batch_state,
        conclusion.release_package_id,
        error_json(conclusion.error),
        doubt.attempt_number,
        dict(evidence),
        conclusion.item_state,
    )
    return status != "UPDATE 0"
