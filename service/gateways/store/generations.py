"""Counts how often a body was begun anew that had ended without a release, and of which its caller was told so."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Which request a body stands for now, and since when its caller knows that it ended without a release."""

    number: int
    told_at: datetime | None
    #: The clock of PostgreSQL.
    now: datetime


FIND_GENERATION: LiteralString = """
SELECT coalesce(b.generation, 1) AS generation, b.told_at, clock_timestamp() AS now
FROM (VALUES ($1::text, $2::bytea)) AS g (caller, body_digest)
LEFT JOIN body_generations AS b ON b.caller = g.caller AND b.body_digest = g.body_digest
"""


async def find_generation(connection: Connection, caller: str, digest: bytes) -> Generation:
    """Return the generation of a body; the first where nothing is known of it."""
    row = await connection.fetchrow(FIND_GENERATION, caller, digest)
    if row is None:
        raise AssertionError("the statement returns one row")
    return Generation(number=row["generation"], told_at=row["told_at"], now=row["now"])


# Whoever comes second changes nothing: the generation that it saw is over already.
BEGIN_GENERATION: LiteralString = """
UPDATE body_generations SET generation = generation + 1, told_at = NULL
WHERE caller = $1 AND body_digest = $2 AND generation = $3 AND told_at IS NOT NULL
"""


async def begin_generation(connection: Connection, caller: str, digest: bytes, *, after: int) -> None:
    """Begin the next generation of a body, once, whoever else wants that too."""
    await connection.execute(BEGIN_GENERATION, caller, digest, after)


NOTE_TOLD: LiteralString = """
INSERT INTO body_generations AS b (caller, body_digest, generation, told_at)
VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (caller, body_digest) DO UPDATE SET told_at = excluded.told_at
WHERE b.generation = excluded.generation AND b.told_at IS NULL
"""


async def note_told(connection: Connection, caller: str, digest: bytes, *, generation: int) -> None:
    """Remember that the caller of a body was told that its generation ended without a release."""
    await connection.execute(NOTE_TOLD, caller, digest, generation)
