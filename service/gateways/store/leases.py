"""Keeps the lease of a batch while its worker is at it."""

from datetime import timedelta
from typing import LiteralString

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
