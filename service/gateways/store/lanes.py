"""What waits under a batch key: the facts that decide whether its window closes, and what holds it back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString, Self
from uuid import UUID

from asyncpg import Record

from service.core.model import WaitReason
from service.core.planning import Waiting, Window
from service.core.workspaces import Governance
from service.gateways.store.database import Connection
from service.gateways.store.workspaces import governance_of


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
    #: What operators have settled for the workspace.
    governance: Governance

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
                flushed_at=row["flushed_at"],
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
            governance=governance_of(row),
        )

    def window(self, default: Window) -> Window:
        """Return the batching window of the key's workspace."""
        return self.governance.own.window(default)

    @property
    def is_paused(self) -> bool:
        """Whether nothing of the key's workspace is sent."""
        return self.governance.is_paused

    @property
    def has_sealed_due(self) -> bool:
        """Whether a sealed batch may be sent now."""
        return self.sealed_from is not None and self.sealed_from <= self.now

    @property
    def has_refused_due(self) -> bool:
        """Whether a refused batch may be looked into now."""
        return self.refused_from is not None and self.refused_from <= self.now


# The first items that are due under a key, up to a full batch, the sealed and refused batches of the key, and what is
# settled for its workspace: read with every look, so that a change is in force with the next one.
LOOK: LiteralString = """
WITH sealed AS (
    SELECT project_id, workspace, coalesce(not_before, created_at) AS sealed_from, created_at, counted_attempts
    FROM batches
    WHERE batch_key = $1 AND state = 'sealed'
), place AS (
    (
        SELECT project_id, workspace FROM release_items
        WHERE batch_key = $1 AND batch_id IS NULL AND NOT is_free AND holder_id IS NULL
        LIMIT 1
    )
    UNION ALL
    SELECT project_id, workspace FROM sealed
    LIMIT 1
), settled AS (
    SELECT
        w.max_items, w.quiet, w.linger, w.rate, w.concurrency, w.paused_at, w.paused_reason, w.resumed_at,
        w.flushed_at
    FROM workspaces AS w
    JOIN place AS p ON p.project_id = w.project_id AND p.workspace = w.workspace
), due AS (
    SELECT due_from, deadline
    FROM release_items
    WHERE
        batch_key = $1 AND batch_id IS NULL AND NOT is_free AND holder_id IS NULL
        AND due_from <= clock_timestamp()
        AND coalesce(deadline > clock_timestamp(), TRUE)
    ORDER BY priority, id
    LIMIT coalesce((SELECT max_items FROM settled), $2::integer)
)
SELECT
    clock_timestamp() AS now,
    p.project_id, p.workspace,
    (SELECT count(*) FROM due) AS count,
    (SELECT min(due_from) FROM due) AS oldest,
    (SELECT max(due_from) FROM due) AS newest,
    (SELECT min(deadline) FROM due) AS nearest_deadline,
    (
        SELECT due_from FROM release_items
        WHERE batch_key = $1 AND batch_id IS NULL AND NOT is_free AND holder_id IS NULL
            AND due_from > clock_timestamp()
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
    (SELECT reason::text FROM holds WHERE batch_key = $1) AS held_for,
    s.max_items, s.quiet, s.linger, s.rate, s.concurrency, s.paused_at, s.paused_reason, s.resumed_at, s.flushed_at
FROM (SELECT) AS nothing
LEFT JOIN place AS p ON TRUE
LEFT JOIN settled AS s ON TRUE
"""


async def look(connection: Connection, batch_key: UUID, *, max_items: int) -> Lane:
    """Return what waits under a batch key; ``max_items`` is a full batch of a workspace without a size of its own."""
    row = await connection.fetchrow(LOOK, batch_key, max_items)
    if row is None:
        raise AssertionError("what is joined to one row is one row at least")
    return Lane.from_row(row)


# Why the items of a key wait, and until when: shown to callers.
HOLD: LiteralString = """
INSERT INTO holds (batch_key, reason, until) VALUES ($1, $2::text::wait_reason, now() + $3::interval)
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


# Every key with work that should have been looked at: one index look-up a key, however many items it has; OFFSET keeps
# it from becoming a join. What is paused waits for its resumption, except a refused batch, which is only looked into.
OVERDUE_KEYS: LiteralString = """
WITH RECURSIVE waiting_keys AS (
    (
        SELECT batch_key, project_id, workspace FROM release_items
        WHERE batch_id IS NULL AND NOT is_free AND holder_id IS NULL
        ORDER BY batch_key LIMIT 1
    )
    UNION ALL
    SELECT n.batch_key, n.project_id, n.workspace
    FROM waiting_keys AS k
    CROSS JOIN LATERAL (
        SELECT i.batch_key, i.project_id, i.workspace FROM release_items AS i
        WHERE i.batch_id IS NULL AND NOT i.is_free AND i.holder_id IS NULL AND i.batch_key > k.batch_key
        ORDER BY i.batch_key LIMIT 1
    ) AS n
)
SELECT k.batch_key FROM waiting_keys AS k
LEFT JOIN holds AS h ON h.batch_key = k.batch_key
LEFT JOIN workspaces AS w ON w.project_id = k.project_id AND w.workspace = k.workspace
WHERE
    w.paused_at IS NULL
    AND (h.until IS NULL OR h.until < now() - $1::interval - $4::interval)
    AND EXISTS (
        SELECT FROM release_items AS i
        WHERE
            i.batch_key = k.batch_key AND i.batch_id IS NULL AND NOT i.is_free AND i.holder_id IS NULL
            AND i.due_from < now() - $1::interval - coalesce(w.linger, $4::interval)
        OFFSET 0
    )
UNION
SELECT b.batch_key FROM batches AS b
LEFT JOIN workspaces AS w ON w.project_id = b.project_id AND w.workspace = b.workspace
WHERE b.state = 'sealed' AND coalesce(b.not_before, b.created_at) < now() - $2::interval AND w.paused_at IS NULL
UNION
SELECT batch_key FROM batches
WHERE state = 'refused' AND not_before < now() - $2::interval
LIMIT $3
"""


async def overdue_keys(
    connection: Connection, *, items_for: timedelta, batches_for: timedelta, linger: timedelta, limit: int
) -> Sequence[UUID]:
    """Return some batch keys whose items or sealed or refused batches have been due for longer than they should.

    Items are given the ``linger``, or that of their workspace, besides.
    """
    rows = await connection.fetch(OVERDUE_KEYS, items_for, batches_for, limit, linger)
    return [row["batch_key"] for row in rows]
