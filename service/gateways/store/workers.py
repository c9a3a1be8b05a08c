"""Keeps which worker processes there are, by their own word, and reads it with the calls that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSign:
    """What a worker process says of itself."""

    #: As on leases.
    worker_id: str
    host: str
    pid: int
    version: str
    is_draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A worker process, and when it was heard of."""

    worker_id: str
    host: str
    pid: int
    version: str
    is_draining: bool
    started_at: datetime
    seen_at: datetime
    #: Since its last word, by the clock of PostgreSQL.
    silent_for: timedelta


KEEP_SIGN: LiteralString = """
INSERT INTO workers AS w (id, host, pid, version, draining) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET seen_at = now(), draining = excluded.draining
"""

FORGET_WORKERS: LiteralString = "DELETE FROM workers WHERE seen_at < now() - $1::interval"


async def keep_sign(connection: Connection, sign: WorkerSign, *, forget_after: timedelta) -> None:
    """Write that a worker lives, and forget those that were not heard of for so long."""
    await connection.execute(KEEP_SIGN, sign.worker_id, sign.host, sign.pid, sign.version, sign.is_draining)
    await connection.execute(FORGET_WORKERS, forget_after)


LIST_WORKERS: LiteralString = """
SELECT
    w.id, w.host, w.pid, w.version, w.draining, w.started_at, w.seen_at,
    greatest(now() - w.seen_at, interval '0') AS silent_for
FROM workers AS w
WHERE w.seen_at > now() - $1::interval
ORDER BY w.seen_at DESC
LIMIT $2
"""


async def list_workers(connection: Connection, *, seen_within: timedelta, limit: int) -> list[WorkerView]:
    """Return the workers that were heard of lately, the last heard first."""
    rows = await connection.fetch(LIST_WORKERS, seen_within, limit)
    return [
        WorkerView(
            worker_id=row["id"],
            host=row["host"],
            pid=row["pid"],
            version=row["version"],
            is_draining=row["draining"],
            started_at=row["started_at"],
            seen_at=row["seen_at"],
            silent_for=row["silent_for"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A call that is under way."""

    batch_id: UUID
    project_id: str
    workspace: str
    item_count: int
    worker_id: str
    lease_expires_at: datetime
    attempt_number: int
    started_at: datetime


CALLS_UNDER_WAY: LiteralString = """
SELECT
    b.id, b.project_id, b.workspace, b.item_count, b.worker, b.lease_expires_at, a.number, a.started_at
FROM batches AS b
CROSS JOIN LATERAL (
    SELECT t.number, t.started_at FROM attempts AS t WHERE t.batch_id = b.id ORDER BY t.number DESC LIMIT 1
) AS a
WHERE b.state = 'sending' AND b.project_id || '/' || b.workspace LIKE ANY($1::text[])
ORDER BY b.lease_expires_at
LIMIT $2
"""


async def calls_under_way(connection: Connection, *, visible: Sequence[str], limit: int) -> list[CallView]:
    """Return the calls in the visible workspaces that are under way, those whose lease ends first first."""
    rows = await connection.fetch(CALLS_UNDER_WAY, visible, limit)
    return [
        CallView(
            batch_id=row["id"],
            project_id=row["project_id"],
            workspace=row["workspace"],
            item_count=row["item_count"],
            worker_id=row["worker"],
            lease_expires_at=row["lease_expires_at"],
            attempt_number=row["number"],
            started_at=row["started_at"],
        )
        for row in rows
    ]
