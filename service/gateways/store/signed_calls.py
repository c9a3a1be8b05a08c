"""Remembers signed calls by their signatures, for all processes, for as long as a signature may be good."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString

from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """When a signed call was first seen, and how this time compares; by the clock of PostgreSQL."""

    first_seen_at: datetime
    seen_after: timedelta
    #: 1 for who came first, whoever else came at the same moment.
    times_seen: int


# One statement, so that of any number of processes at the same moment exactly one is first.
SEE_CALL: LiteralString = """
INSERT INTO signed_calls AS c (signature) VALUES ($1)
ON CONFLICT (signature) DO UPDATE SET times_seen = c.times_seen + 1
RETURNING c.first_seen_at, clock_timestamp() - c.first_seen_at AS seen_after, c.times_seen
"""


async def see_call(connection: Connection, signature: bytes) -> Sighting:
    """Remember a signed call, and tell when it was first seen."""
    row = await connection.fetchrow(SEE_CALL, signature)
    if row is None:
        raise AssertionError("the statement returns the row that it wrote")
    return Sighting(
        first_seen_at=row["first_seen_at"], seen_after=row["seen_after"], times_seen=row["times_seen"]
    )


FORGET_CALLS: LiteralString = """
DELETE FROM signed_calls
WHERE signature IN (SELECT signature FROM signed_calls WHERE first_seen_at < now() - $1::interval LIMIT 10000)
"""


async def forget_calls(connection: Connection, *, older_than: timedelta) -> None:
    """Forget calls that were first seen so long ago, some at a time."""
    await connection.execute(FORGET_CALLS, older_than)
