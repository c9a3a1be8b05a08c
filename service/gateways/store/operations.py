"""Keeps operations on many requests: which requests matched at the start, and what became of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from asyncpg import Record

from service.core.model import RequestState
from service.core.operations import MOST_TARGETS, Operation, OperationAction, OperationState, Progress
from service.core.request_filter import RequestFilter
from service.gateways.store.database import Connection
from service.gateways.store.request_lists import PLAN_FOR_VALUES, conditions, matching

# What matches a filter and is in one of the states; they are said in the form that an index has, as in a list.
_TARGETS: LiteralString = (
    matching()
    + """
    AND CASE
        WHEN 'accepted' = ANY($12::request_state[])
            THEN r.state = ANY($12) AND r.finished_at IS NULL AND r.created_at > '-infinity'
        ELSE r.rare_state = ANY($12)
    END
"""
)

COUNT_TARGETS: LiteralString = """
SELECT count(*) FROM (SELECT FROM release_requests AS r WHERE TARGETS LIMIT $13) AS t
""".replace("TARGETS", _TARGETS)


async def count_targets(
    connection: Connection, wanted: RequestFilter, *, visible: Sequence[str], states: Sequence[RequestState]
) -> int:
    """Return how many requests match, and one more than the most where they are too many; in a transaction."""
    await connection.execute(PLAN_FOR_VALUES)
    found = await connection.fetchval(COUNT_TARGETS, *conditions(wanted, visible), states, MOST_TARGETS + 1)
    return int(found)


SAMPLE_TARGETS: LiteralString = """
SELECT r.id FROM release_requests AS r
WHERE TARGETS
ORDER BY r.created_at DESC, r.id DESC
LIMIT $13
""".replace("TARGETS", _TARGETS)


async def sample_targets(
    connection: Connection,
    wanted: RequestFilter,
    *,
    visible: Sequence[str],
    states: Sequence[RequestState],
    limit: int,
) -> list[UUID]:
    """Return some of the requests that match, the newest; in a transaction."""
    await connection.execute(PLAN_FOR_VALUES)
    rows = await connection.fetch(SAMPLE_TARGETS, *conditions(wanted, visible), states, limit)
    return [row["id"] for row in rows]


ADD_OPERATION: LiteralString = """
INSERT INTO operations (
    id, action, filter, caller, actor, visible, reason, http_request_id, total, state, finished_at
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9::integer,
    CASE $9::integer WHEN 0 THEN 'done' ELSE 'running' END::operation_state,
    CASE $9::integer WHEN 0 THEN clock_timestamp() END
)
"""

ADD_TARGETS: LiteralString = """
INSERT INTO operation_targets (operation_id, request_id)
SELECT $13, r.id FROM release_requests AS r
WHERE TARGETS
""".replace("TARGETS", _TARGETS)


async def add_operation(
    connection: Connection, operation: Operation, wanted: RequestFilter, *, total: int
) -> None:
    """Keep an operation with all requests that match, in the transaction that has counted them."""
    await connection.execute(
        ADD_OPERATION,
        operation.operation_id,
        operation.action,
        dict(operation.filter),
        operation.caller,
        operation.actor,
        list(operation.visible),
        operation.reason,
        operation.http_request_id,
        total,
    )
    await connection.execute(
        ADD_TARGETS,
        *conditions(wanted, operation.visible),
        operation.action.states,
        operation.operation_id,
    )


FIND_PROGRESS: LiteralString = """
SELECT
    o.id, o.action, o.filter, o.caller, o.actor, o.visible, o.reason, o.http_request_id, o.total, o.state,
    o.created_at, o.finished_at,
    (SELECT count(*) FROM operation_targets AS t WHERE t.operation_id = o.id AND t.succeeded) AS succeeded,
    (SELECT count(*) FROM operation_targets AS t WHERE t.operation_id = o.id AND NOT t.succeeded) AS skipped
FROM operations AS o
WHERE o.id = $1 AND ($2::text IS NULL OR o.caller = $2)
"""


async def find_progress(connection: Connection, operation_id: UUID, *, owner: str | None) -> Progress | None:
    """Return an operation; with an owner, only one of theirs."""
    row = await connection.fetchrow(FIND_PROGRESS, operation_id, owner)
    if row is None:
        return None
    return Progress(
        operation=_operation_from_row(row),
        state=OperationState(row["state"]),
        total=row["total"],
        succeeded=row["succeeded"],
        skipped=row["skipped"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )


ABORT: LiteralString = """
UPDATE operations SET state = 'aborted', finished_at = clock_timestamp()
WHERE id = $1 AND state = 'running' AND ($2::text IS NULL OR caller = $2)
"""


async def abort(connection: Connection, operation_id: UUID, *, owner: str | None) -> bool:
    """Stop an operation that runs; False where there is none that does."""
    return await connection.execute(ABORT, operation_id, owner) == "UPDATE 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A request whose turn has come, locked by this transaction."""

    operation: Operation
    request_id: UUID


# The oldest operation first; what another worker has taken is passed over.
TAKE_TARGET: LiteralString = """
SELECT
    t.request_id, o.id, o.action::text, o.filter, o.caller, o.actor, o.visible, o.reason, o.http_request_id
FROM operations AS o
JOIN operation_targets AS t ON t.operation_id = o.id AND t.succeeded IS NULL
WHERE o.state = 'running'
ORDER BY o.created_at
LIMIT 1
FOR UPDATE OF t SKIP LOCKED
"""


async def take_target(connection: Connection) -> Target | None:
    """Lock the next request of an operation that runs, or return None."""
    row = await connection.fetchrow(TAKE_TARGET)
    if row is None:
        return None
    return Target(operation=_operation_from_row(row), request_id=row["request_id"])


CONCLUDE_TARGET: LiteralString = """
UPDATE operation_targets SET succeeded = $3 WHERE operation_id = $1 AND request_id = $2
"""


async def conclude_target(connection: Connection, target: Target, *, succeeded: bool) -> None:
    """Write what became of a request."""
    await connection.execute(CONCLUDE_TARGET, target.operation.operation_id, target.request_id, succeeded)


FINISH_OPERATIONS: LiteralString = """
UPDATE operations AS o SET state = 'done', finished_at = clock_timestamp()
WHERE
    o.state = 'running'
    AND NOT EXISTS (SELECT FROM operation_targets AS t WHERE t.operation_id = o.id AND t.succeeded IS NULL)
"""


async def finish_operations(connection: Connection) -> None:
    """End the operations of which no request is left."""
    await connection.execute(FINISH_OPERATIONS)


def _operation_from_row(row: Record) -> Operation:
    return Operation(
        operation_id=row["id"],
        action=OperationAction(row["action"]),
        filter=row["filter"],
        caller=row["caller"],
        actor=row["actor"],
        visible=tuple(row["visible"]),
        reason=row["reason"],
        http_request_id=row["http_request_id"],
    )
