"""Keeps the lease of a batch while its worker is at it, and the loans of those that somebody looks into."""

from collections.abc import Mapping
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from service.core.model import Batch
from service.gateways.store.database import Connection

# The lease of a batch that is still ours, from this moment on; nothing brings back one that was taken over.
EXTEND_LEASE: LiteralString = """
UPDATE batches SET lease_expires_at = now() + $3::interval
WHERE id = $1 AND epoch = $2 AND state = 'sending'
"""


async def extend_lease(connection: Connection, batch: Batch, *, duration: timedelta) -> bool:
    """Let the lease of a claimed batch begin anew; return False where the claim is no longer ours."""
    status = await connection.execute(EXTEND_LEASE, batch.batch_id, batch.epoch, duration)
    return status != "UPDATE 0"


# Batches that are still lent under these epochs, from this moment on; what is settled or put off has another epoch.
EXTEND_LOANS: LiteralString = """
UPDATE batches AS b SET not_before = now() + $3::interval
FROM unnest($1::uuid[], $2::integer[]) AS lent (id, epoch)
WHERE
    b.id = lent.id AND b.epoch = lent.epoch AND b.state IN ('in_doubt', 'refused')
    AND b.id = ANY($1::uuid[]) -- or all batches are gone through where statistics are old
"""


async def extend_loans(connection: Connection, epochs: Mapping[UUID, int], *, loan: timedelta) -> None:
    """Let the loans of batches, by their ids, begin anew."""
    await connection.execute(EXTEND_LOANS, list(epochs), list(epochs.values()), loan)
