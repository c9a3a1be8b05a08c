"""Keeps what is known of breakers, for operators to see and for a limiter that has lost its memory."""

from typing import LiteralString

from asyncpg import Record

from service.core.breakers import Breaker, BreakerReason
from service.gateways.store.database import Connection

# A change of a breaker; of two that come in the wrong order the later one, by the clock of Redis, stays.
KEEP_BREAKER: LiteralString = """
INSERT INTO breakers (credential, project_id, workspace, reason, changed_at, openings, until)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (credential, project_id, workspace, reason) DO UPDATE SET
    changed_at = excluded.changed_at, openings = excluded.openings, until = excluded.until
WHERE breakers.changed_at < excluded.changed_at
"""


async def keep_breaker(connection: Connection, breaker: Breaker) -> None:
    """Write how a breaker stands after a change."""
    await connection.execute(
        KEEP_BREAKER,
        breaker.credential,
        breaker.project_id,
        breaker.workspace,
        breaker.reason,
        breaker.changed_at,
        breaker.openings,
        breaker.until,
    )


# One that nobody probed for an hour is forgotten, as the limiter does.
OPEN_BREAKERS: LiteralString = """
SELECT credential, project_id, workspace, reason, changed_at, openings, until
FROM breakers
WHERE credential = $1 AND until > now() - interval '1 hour'
"""


async def open_breakers(connection: Connection, credential: str) -> list[Breaker]:
    """Return the breakers of a credential that are open."""
    return [_breaker_of(row) for row in await connection.fetch(OPEN_BREAKERS, credential)]


def _breaker_of(row: Record) -> Breaker:
    return Breaker(
        credential=row["credential"],
        project_id=row["project_id"],
        workspace=row["workspace"],
        reason=BreakerReason(row["reason"]),
        changed_at=row["changed_at"],
        openings=row["openings"],
        until=row["until"],
    )
