"""The records in Python and in Postgres say the same."""

from enum import StrEnum

import asyncpg
import pytest

from service.core.model import (
    DONE_REQUEST_STATES,
    AttemptOutcome,
    BatchState,
    ClosedBy,
    ItemState,
    Priority,
    RequestState,
    WaitReason,
)
from service.core.operations import OperationAction, OperationState

POSTGRES_TYPES: dict[str, type[StrEnum]] = {
    "request_state": RequestState,
    "item_state": ItemState,
    "batch_state": BatchState,
    "attempt_outcome": AttemptOutcome,
    "closed_by": ClosedBy,
    "priority": Priority,
    "wait_reason": WaitReason,
    "operation_action": OperationAction,
    "operation_state": OperationState,
}
LABELS = """
SELECT t.typname, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels
FROM pg_enum AS e JOIN pg_type AS t ON t.oid = e.enumtypid
GROUP BY t.typname
"""
DONE_BY_DATABASE = (
    "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'release_requests_done_has_time'"
)


async def test_the_enums_are_those_of_postgres(database_url: str) -> None:
    """Each Postgres enum has the values of its Python enum, in the same order: for priority it is the order of work.

    When this fails after a new value in Python: it needs a migration, ALTER TYPE … ADD VALUE.
    """
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(LABELS)
    finally:
        await connection.close()

    assert {name: [member.value for member in enum] for name, enum in POSTGRES_TYPES.items()} == {
        row["typname"]: row["labels"] for row in rows
    }


async def test_the_same_states_are_final_in_postgres(database_url: str) -> None:
    """The states of a request that have an end time are those that Python calls done."""
    connection = await asyncpg.connect(database_url)
    try:
        definition = await connection.fetchval(DONE_BY_DATABASE)
    finally:
        await connection.close()

    assert {state for state in RequestState if f"'{state.value}'" in definition} == DONE_REQUEST_STATES


@pytest.mark.parametrize("state", RequestState)
def test_a_state_knows_whether_it_is_final(state: RequestState) -> None:
    """A request is done in exactly the final states."""
    assert (state in DONE_REQUEST_STATES) == state.is_done


async def test_high_priority_comes_first_in_postgres(database_url: str) -> None:
    """ORDER BY priority takes high before normal before low."""
    connection = await asyncpg.connect(database_url)
    try:
        taken = await connection.fetchval(
            "SELECT array_agg(p::text ORDER BY p) FROM unnest('{low,high,normal}'::priority[]) AS p"
        )
    finally:
        await connection.close()

    assert taken == ["high", "normal", "low"]
