"""What operators have settled for workspaces: read and written under a lock, for their actions."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from asyncpg import Record

from service.core.place import Place
from service.core.workspaces import Governance, OwnSettings
from service.gateways.store.database import Connection

# The row of a workspace, made where there is none, and locked; none where the caller does not see the workspace.
LOCK_WORKSPACE: LiteralString = """
INSERT INTO workspaces (project_id, workspace)
SELECT $1, $2 WHERE $1 || '/' || $2 LIKE ANY($3::text[])
ON CONFLICT (project_id, workspace) DO UPDATE SET project_id = excluded.project_id
RETURNING
    max_items, quiet, linger, rate, concurrency, paused_at, paused_reason, resumed_at, flushed_at,
    clock_timestamp() AS now
"""


async def lock_workspace(
    connection: Connection, place: Place, *, visible: Sequence[str]
) -> tuple[Governance, datetime] | None:
    """Return what is settled for a workspace, and the time, until the transaction ends; None where it is not seen."""
    row = await connection.fetchrow(LOCK_WORKSPACE, place.project_id, place.workspace, visible)
    return None if row is None else (governance_of(row), row["now"])


def own_settings_of(row: Record) -> OwnSettings:
    """Read the settings of a row of ``workspaces``."""
    return OwnSettings(
        max_items=row["max_items"],
        quiet=row["quiet"],
        linger=row["linger"],
        rate=row["rate"],
        concurrency=row["concurrency"],
    )


def governance_of(row: Record) -> Governance:
    """Read a row of ``workspaces``; one of nothing but NULL is that of a workspace without a row."""
    return Governance(
        own=own_settings_of(row),
        paused_at=row["paused_at"],
        paused_reason=row["paused_reason"],
        resumed_at=row["resumed_at"],
        flushed_at=row["flushed_at"],
    )


KEEP_WORKSPACE: LiteralString = """
UPDATE workspaces SET
    max_items = $3, quiet = $4, linger = $5, rate = $6, concurrency = $7, paused_at = $8, paused_reason = $9,
    resumed_at = $10, flushed_at = $11, changed_at = clock_timestamp()
WHERE project_id = $1 AND workspace = $2
"""


async def keep_workspace(connection: Connection, place: Place, settled: Governance) -> None:
    """Write what is settled for a workspace that this transaction has locked."""
    await connection.execute(
        KEEP_WORKSPACE,
        place.project_id,
        place.workspace,
        settled.own.max_items,
        settled.own.quiet,
        settled.own.linger,
        settled.own.rate,
        settled.own.concurrency,
        settled.paused_at,
        settled.paused_reason,
        settled.resumed_at,
        settled.flushed_at,
    )


# What held the keys of a workspace back may hold no longer.
LIFT_HOLDS: LiteralString = """
DELETE FROM holds
WHERE batch_key IN (
    SELECT batch_key FROM release_items
    WHERE project_id = $1 AND workspace = $2 AND batch_id IS NULL AND NOT is_free AND holder_id IS NULL
    UNION
    SELECT batch_key FROM batches WHERE project_id = $1 AND workspace = $2 AND state = 'sealed'
)
"""


async def lift_holds(connection: Connection, place: Place) -> None:
    """Forget what holds the keys of a workspace back, so that the sweep rings for them."""
    await connection.execute(LIFT_HOLDS, place.project_id, place.workspace)


# The keys of a workspace with work, those that have waited longest first.
KEYS_WITH_WORK: LiteralString = """
SELECT batch_key FROM (
    SELECT batch_key, min(due_from) AS since FROM release_items
    WHERE project_id = $1 AND workspace = $2 AND batch_id IS NULL AND NOT is_free AND holder_id IS NULL
    GROUP BY batch_key
    UNION ALL
    SELECT batch_key, created_at AS since FROM batches
    WHERE project_id = $1 AND workspace = $2 AND state = 'sealed'
) AS work
GROUP BY batch_key
ORDER BY min(since)
LIMIT $3
"""


async def keys_with_work(connection: Connection, place: Place, *, limit: int) -> list[UUID]:
    """Return the batch keys of a workspace with items that wait or batches that are to be sent again."""
    rows = await connection.fetch(KEYS_WITH_WORK, place.project_id, place.workspace, limit)
    return [row["batch_key"] for row in rows]


# Every workspace whose windows are not those of the deployment, or that is paused.
OWN_WINDOWS: LiteralString = """
SELECT
    project_id, workspace, max_items, quiet, linger, rate, concurrency, paused_at, paused_reason, resumed_at, flushed_at
FROM workspaces
WHERE max_items IS NOT NULL OR quiet IS NOT NULL OR linger IS NOT NULL OR paused_at IS NOT NULL
"""


async def own_windows(connection: Connection) -> dict[Place, Governance]:
    """Return the workspaces with a window of their own, and those that are paused."""
    rows = await connection.fetch(OWN_WINDOWS)
    return {
        Place(project_id=row["project_id"], workspace=row["workspace"]): governance_of(row) for row in rows
    }
