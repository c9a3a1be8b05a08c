"""Writes what the call of a batch came to."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from service.core.model import Batch, ItemError
from service.core.outcomes import VendorError
from service.core.verdict import Verdict
from service.gateways.store.database import Connection
from service.gateways.store.progress import Carried


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """What is kept of one call beside its outcome."""

    sent_at: datetime | None
    error: VendorError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A verdict that was written."""

    carried: Carried
    #: Whether something waits under the key of the batch, now or later.
    has_more: bool


# The outcome of a call, written only under the epoch of the call's own claim: whoever lost the lease writes nothing.
# Requests that are in the batch as a whole are carried on here: all their items stand where these do.
SETTLE_BATCH: LiteralString = """
WITH batch AS (
    UPDATE batches SET
        state = $3::text::batch_state, lease_expires_at = NULL, worker = NULL, updated_at = now(),
        finished_at = CASE WHEN $3::text IN ('released', 'rejected', 'failed') THEN now() END,
        counted_attempts = counted_attempts + $4::integer,
        not_before = now() + $5::interval,
        wait_reason = $6::text::wait_reason, release_package_id = $7, error = $8
    WHERE id = $1 AND epoch = $2 AND state = 'sending'
    RETURNING id
), attempt AS (
    UPDATE attempts AS a SET
        outcome = $9::text::attempt_outcome, finished_at = now(), sent_at = $10, http_status = $11,
        error_code = $12, error_msg = $13, vendor_request_id = $14,
        evidence = CASE WHEN $7::text IS NOT NULL THEN jsonb_build_object('release_package_id', $7::text) END
    FROM batch AS b
    WHERE a.batch_id = b.id AND a.outcome IS NULL
), items AS (
    UPDATE release_items AS i SET state = $15::text::item_state, error = $8
    FROM batch AS b
    WHERE i.batch_id = b.id AND i.holder_id IS NULL
    RETURNING i.request_id
), counts AS (
    SELECT request_id, count(*) AS items FROM items GROUP BY request_id
), whole AS (
    UPDATE release_requests AS r SET
        state = $15::text::request_state, error = $8, version = r.version + 1, updated_at = clock_timestamp(),
        finished_at = CASE WHEN $15::text IN ('released', 'rejected', 'failed') THEN clock_timestamp() END
    FROM counts AS c
    WHERE r.id = c.request_id AND r.item_count = c.items AND r.finished_at IS NULL
    AND r.id = ANY(ARRAY(SELECT m.request_id FROM counts AS m)) -- or all requests are read where statistics are old
    RETURNING r.id, r.version, r.state
), event AS (
    INSERT INTO request_events (request_id, seq, at, type, state, batch_id, attempt, detail)
    SELECT w.id, w.version, clock_timestamp(), 'request.' || w.state, w.state, $1, $16, $17::jsonb
    FROM whole AS w
)
SELECT b.id, ARRAY(SELECT w.id FROM whole AS w) AS request_ids FROM batch AS b
"""


async def settle_batch(
    connection: Connection, batch: Batch, *, verdict: Verdict, record: AttemptRecord
) -> Settled | None:
    """Write a verdict on batch, attempt and items; return None where the claim was no longer ours."""
    error = record.error
    row = await connection.fetchrow(
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
        batch.attempt_number,
        verdict_detail(verdict),
    )
    if row is None:
        return None
    return await _look_around(connection, batch, tuple(row["request_ids"]))


def verdict_detail(verdict: Verdict) -> dict[str, object]:
    """Return what the timelines of requests say of the end of a call."""
    detail: dict[str, object] = {"outcome": verdict.outcome.value}
    if verdict.release_package_id is not None:
        detail["release_package_id"] = verdict.release_package_id
    if verdict.wait_reason is not None:
        detail["wait_reason"] = verdict.wait_reason.value
    if verdict.error is not None:
        detail["error"] = error_json(verdict.error)
    return detail


# Whether a batch has requests beside these, and whether anything waits under its key: a statement of its own, so that
# it sees the rows that were attached while the one before waited for them.
LOOK_AROUND: LiteralString = """
SELECT
    EXISTS (SELECT FROM release_items WHERE batch_id = $1 AND request_id <> ALL($2::uuid[])) AS has_others,
    EXISTS (
        SELECT FROM release_items AS i
        WHERE i.batch_key = b.batch_key AND i.batch_id IS NULL AND NOT i.is_free AND i.holder_id IS NULL
    )
    OR EXISTS (SELECT FROM batches AS s WHERE s.batch_key = b.batch_key AND s.state = 'sealed')
    OR EXISTS (SELECT FROM batches AS r WHERE r.batch_key = b.batch_key AND r.state = 'refused') AS has_more
FROM batches AS b
WHERE b.id = $1
"""


async def _look_around(connection: Connection, batch: Batch, request_ids: tuple[UUID, ...]) -> Settled:
    row = await connection.fetchrow(LOOK_AROUND, batch.batch_id, request_ids)
    if row is None:
        raise AssertionError("this transaction has written the batch")
    return Settled(
        carried=Carried(request_ids=request_ids, has_others=row["has_others"]), has_more=row["has_more"]
    )


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
