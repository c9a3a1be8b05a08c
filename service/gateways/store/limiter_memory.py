"""Reads what a limiter that has lost its memory is told again."""

from typing import LiteralString

from service.core.limiter_memory import LimiterMemory, Rest, RunningCall
from service.gateways.store.breakers import open_breakers
from service.gateways.store.database import Connection

# Calls that may be under way.
RUNNING_CALLS: LiteralString = """
SELECT id, project_id, workspace, lease_expires_at - clock_timestamp() AS lease_left
FROM batches
WHERE state = 'sending' AND lease_expires_at > clock_timestamp()
"""

# The times that answers of the vendor have asked for are kept on the batches that it throttled.
RESTS: LiteralString = """
SELECT
    CASE wait_reason WHEN 'workspace_rate' THEN project_id ELSE '' END AS project_id,
    CASE wait_reason WHEN 'workspace_rate' THEN workspace ELSE '' END AS workspace,
    max(not_before) - clock_timestamp() AS left
FROM batches
WHERE state = 'sealed' AND wait_reason IN ('rate', 'workspace_rate') AND not_before > clock_timestamp()
GROUP BY 1, 2
"""


async def recall(connection: Connection, credential: str) -> LimiterMemory:
    """Return what holds the calls of a credential back; calls and rests are those of all credentials."""
    return LimiterMemory(
        breakers=tuple(await open_breakers(connection, credential)),
        calls=tuple(
            RunningCall(
                batch_id=row["id"],
                project_id=row["project_id"],
                workspace=row["workspace"],
                lease_left=row["lease_left"],
            )
            for row in await connection.fetch(RUNNING_CALLS)
        ),
        rests=tuple(
            Rest(project_id=row["project_id"], workspace=row["workspace"], left=row["left"])
            for row in await connection.fetch(RESTS)
        ),
    )
