"""Writes what the call of a batch came to."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from service.core.model import Batch, ItemError
from service.core.outcomes import VendorError
from service.core.verdict import Verdict
from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """What is kept of one call beside its outcome."""

    sent_at: datetime | None
    error: VendorError | None


# The outcome of a call, written only under the epoch of the call's own claim: whoever lost the lease writes nothing.
SETTLE_BATCH: LiteralString = """
WITH batch AS (
    UPDATE batches SET
        state = $3::batch_state, lease_expires_at = NULL, worker = NULL, updated_at = now(),
        finished_at = CASE WHEN $3::batch_state IN ('released', 'rejected', 'failed') THEN now() END,
        counted_attempts = counted_attempts + $4::integer,
        not_before = now() + $5::interval,
        wait_reason = $6, release_package_id = $7, error = $8
    WHERE id = $1 AND epoch = $2 AND state = 'sending'
    RETURNING id
), attempt AS (
    UPDATE attempts AS a SET
        outcome = $9, finished_at = now(), sent_at = $10, http_status = $11, error_code = $12, error_msg = $13,
        vendor_request_id = $14,
        evidence = CASE WHEN $7::text IS NOT NULL THEN jsonb_build_object('release_package_id', $7::text) END
    FROM batch AS b
    WHERE a.batch_id = b.id AND a.outcome IS NULL
)
UPDATE release_items AS i SET state = $15, error = $8
FROM batch AS b
WHERE i.batch_id = b.id AND i.holder_id IS NULL
"""


async def settle_batch(
    connection: Connection, batch: Batch, *, verdict: Verdict, record: AttemptRecord
) -> bool:
    """Write a verdict on batch, attempt and items; return False where the claim was no longer ours."""
    error = record.error
    status = await connection.execute(
        SETTLE_BATCH,
        batch.batch_id,
        batch.epoch,
        verdict.batch_state,
        int(verdict.is_counted),
        verdict.delay,
        verdict.wait_reason,
        verdict.release_package_id,
        error_json(verdict.error),
        verdict.outcome,
        record.sent_at,
        error and error.status,
        error and error.error_code,
        error and error.error_msg,
        error and error.request_id,
        verdict.item_state,
    )
    return status != "UPDATE 0"


def error_json(error: ItemError | None) -> dict[str, object] | None:
    """Write an error in the contract's form."""
    if error is None:
        return None
    vendor = error.vendor
    return {
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "vendor": None
        if vendor is None
        else {
            "status": vendor.status,
            "error_code": vendor.error_code,
            "error_msg": vendor.error_msg,
            "request_id": vendor.request_id,
        },
    }
