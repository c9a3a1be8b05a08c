"""What waits under a batch key: the facts that decide whether its window closes, and what holds it back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString, Self
from uuid import UUID

from asyncpg import Record

from service.core.model import WaitReason
from service.core.planning import Waiting
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A batch key at one moment, by the clock of Postgres."""

    now: datetime
    project_id: str | None
    workspace: str | None
    waiting: Waiting | None
    #: When the next item that is not due yet will be.
    next_due: datetime | None
    #: The earliest time at which a sealed batch of this key may be sent, and its workspace.
    sealed_from: datetime | None
    #: Failed calls of the sealed batch that would be claimed now.
    sealed_tries: int
    #: The earliest time at which a refused batch of this key may be looked into.
    refused_from: datetime | None
    #: Until when the key is held back, and why.
    held_until: datetime | None
    held_for: WaitReason | None

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Read the row of ``LOOK``."""
        waiting = None
        if row["count"]:
            waiting = Waiting(
                count=row["count"],
                oldest=row["oldest"],
                newest=row["newest"],
                nearest_deadline=row["nearest_deadline"],
            )
        return cls(
            now=row["now"],
            project_id=row["project_id"],
            workspace=row["workspace"],
            waiting=waiting,
            next_due=row["next_due"],
            sealed_from=row["sealed_from"],
            sealed_tries=row["sealed_tries"],
            refused_from=row["refused_from"],
            held_until=row["held_until"],
            held_for=WaitReason(row["held_for"]) if row["held_for"] is not None else None,
        )

    @property
    def has_sealed_due(self) -> bool:
        """Whether a sealed batch may be sent now."""
        return self.sealed_from is not None and self.sealed_from <= self.now

    @property
    def has_refused_due(self) -> bool:
        """Whether a refused batch may be looked into now."""
        return self.refused_from is not None and self.refused_from <= self.now


# The first items that are due under a key, up to a full batch, and the sealed and refused batches of the key.
LOOK: LiteralString = """
WITH due AS (
    SELECT project_id, workspace, due_from, deadline
    FROM release_items
    WHERE batch_key = $1 AND state = 'waiting' AND holder_id IS NULL AND due_from <= clock_timestamp()
    ORDER BY priority, id
    LIMIT $2
), sealed AS (
    SELECT project_id, workspace, coalesce(not_before, created_at) AS sealed_from, created_at, counted_attempts
    FROM batches
    WHERE batch_key = $1 AND state = 'sealed'
)
SELECT
    clock_timestamp() AS now,
    coalesce((SELECT min(project_id) FROM due), (SELECT min(project_id) FROM sealed)) AS project_id,
    coalesce((SELECT min(workspace) FROM due), (SELECT min(workspace) FROM sealed)) AS workspace,
    (SELECT count(*) FROM due) AS count,
    (SELECT min(due_from) FROM due) AS oldest,
    (SELECT max(due_from) FROM due) AS newest,
    (SELECT min(deadline) FROM due) AS nearest_deadline,
    (
        SELECT due_from FROM release_items
        WHERE batch_key = $1 AND state = 'waiting' AND holder_id IS NULL AND due_from > clock_timestamp()
        ORDER BY due_from LIMIT 1
    ) AS next_due,
    (SELECT min(sealed_from) FROM sealed) AS sealed_from,
    coalesce(
        (
            SELECT counted_attempts FROM sealed
            WHERE sealed_from <= clock_timestamp() ORDER BY created_at LIMIT 1
        ), 0
    ) AS sealed_tries,
    (SELECT min(not_before) FROM batches WHERE batch_key = $1 AND state = 'refused') AS refused_from,
    (SELECT until FROM holds WHERE batch_key = $1) AS held_until,
    (SELECT reason FROM holds WHERE batch_key = $1) AS held_for
"""


async def look(connection: Connection, batch_key: UUID, *, max_items: int) -> Lane:
    """Return what waits under a batch key."""
    row = await connection.fetchrow(LOOK, batch_key, max_items)
    if row is None:
        raise AssertionError("a SELECT without FROM returns one row")
    return Lane.from_row(row)


# Why the items of a key wait, and until when: shown to callers.
HOLD: LiteralString = """
INSERT INTO holds (batch_key, reason, until) VALUES ($1, $2, now() + $3::interval)
ON CONFLICT (batch_key) DO UPDATE SET reason = excluded.reason, until = excluded.until
"""


async def hold(connection: Connection, batch_key: UUID, *, reason: WaitReason, delay: timedelta) -> None:
    """Record what holds a batch key back, and for how long from now."""
    await connection.execute(HOLD, batch_key, reason, delay)


# Holds that ended long ago.
FORGET_HOLDS: LiteralString = """
DELETE FROM holds
WHERE batch_key IN (SELECT batch_key FROM holds WHERE until < now() - interval '10 minutes' LIMIT 1000)
"""


async def forget_holds(connection: Connection) -> None:
    """Delete holds that ended long ago."""
    await connection.execute(FORGET_HOLDS)


# Every key with work that should have been looked at: one index look-up a key, however many items it has.
OVERDUE_KEYS: LiteralString = """
WITH RECURSIVE waiting_keys AS (
    (
        SELECT batch_key FROM release_items
        WHERE state = 'waiting' AND holder_id IS NULL
        ORDER BY batch_key LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT i.batch_key FROM release_items AS i
        WHERE i.state = 'waiting' AND i.holder_id IS NULL AND i.batch_key > k.batch_key
        ORDER BY i.batch_key LIMIT 1
    )
    FROM waiting_keys AS k
    WHERE k.batch_key IS NOT NULL
)
SELECT k.batch_key FROM waiting_keys AS k
LEFT JOIN holds AS h ON h.batch_key = k.batch_key
WHERE
    k.batch_key IS NOT NULL
    AND (h.until IS NULL OR h.until < now() - $1::interval)
    AND EXISTS (
        SELECT FROM release_items AS i
        WHERE
            i.batch_key = k.batch_key AND i.state = 'waiting' AND i.holder_id IS NULL
            AND i.due_from < now() - $1::interval
    )
UNION
SELECT batch_key FROM batches
WHERE state = 'sealed' AND coalesce(not_before, created_at) < now() - $2::interval
UNION
SELECT batch_key FROM batches
WHERE state = 'refused' AND not_before < now() - $2::interval
LIMIT $3
"""


async def overdue_keys(
    connection: Connection, *, items_for: timedelta, batches_for: timedelta, limit: int
) -> Sequence[UUID]:
    """Return some batch keys whose items or sealed or refused batches have been due for longer than they should."""
    rows = await connection.fetch(OVERDUE_KEYS, items_for, batches_for, limit)
    return [row["batch_key"] for row in rows]
