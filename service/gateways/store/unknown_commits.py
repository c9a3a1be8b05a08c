"""Finds out whether a commit whose answer was lost did happen."""

from typing import LiteralString

from service.core.model import AttemptOutcome, Batch
from service.gateways.store.database import Connection

# Whether a claim was written, and still stands.
IS_CLAIMED: LiteralString = (
    "SELECT EXISTS (SELECT FROM batches WHERE id = $1 AND epoch = $2 AND state = 'sending' AND worker = $3)"
)


async def is_claimed(connection: Connection, batch: Batch, *, worker: str) -> bool:
    """Tell whether a worker's claim of a batch is in the database."""
    return bool(await connection.fetchval(IS_CLAIMED, batch.batch_id, batch.epoch, worker))


# What a call came to, if that was written under the epoch of the call's own claim.
FIND_OUTCOME: LiteralString = (
    "SELECT outcome FROM attempts WHERE batch_id = $1 AND number = $2 AND epoch = $3"
)


async def find_outcome(connection: Connection, batch: Batch) -> AttemptOutcome | None:
    """Return the outcome of a batch's own attempt, or None while it has none."""
    outcome = await connection.fetchval(FIND_OUTCOME, batch.batch_id, batch.attempt_number, batch.epoch)
    return AttemptOutcome(outcome) if outcome is not None else None
