"""Makes the one call for a batch.

Takes: a claimed batch with its open attempt, and a permit.
Leaves: a report of what the call came to, handed on to settle.
If it dies here: nobody knows whether the call was made; the lease runs out and the batch is in doubt.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from service.core.errors import QueueUnavailable
from service.core.failpoint import FailpointName
from service.core.model import Batch
from service.core.outcomes import NO_WORDS, CallReport, InDoubt
from service.deps import WorkerDeps
from service.flow.heartbeat import beating
from service.flow.settle import settle
from service.gateways.limits import Asking
from service.gateways.permits import Permit

#: Without Redis no pause can have been told either; the permit stands.
_LOOK_WITHIN_SECONDS = 0.5
#: One part of the time for a call may be waited out before it is written: the rest is the vendor's.
_PARTS_OF_A_CALL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedBatch:
    """A batch that this worker may send, while enough of its lease is left."""

    batch: Batch
    #: A moment of ``time.monotonic()``; from then on nothing is written to the vendor.
    write_before: float


async def release_batch(deps: WorkerDeps, claimed: ClaimedBatch, *, asking: Asking, permit: Permit) -> bool:
    """Call the vendor for a batch and settle what comes of it, also where the call is cut off.

    Returns whether something may wait under the key.
    """
    permit = replace(permit, batch_id=claimed.batch.batch_id)
    with beating(deps, claimed.batch):
        try:
            report = await deps.vendor.create_package(
                claimed.batch, deadline=claimed.write_before, is_held=partial(is_held, deps, asking, permit)
            )
        except BaseException as error:
            report = _given_up(is_cut_off=isinstance(error, asyncio.CancelledError))
            await asyncio.shield(settle(deps, claimed.batch, report, asking=asking, permit=permit))
            raise
        deps.failpoint.pass_point(FailpointName.AFTER_ANSWER)
        return await asyncio.shield(settle(deps, claimed.batch, report, asking=asking, permit=permit))


async def is_held(deps: WorkerDeps, asking: Asking, permit: Permit) -> bool:
    """Wait a moment for the limiter to let the call be written; tell whether it does not."""
    give_up_at = time.monotonic() + (deps.settings.call_timeout / _PARTS_OF_A_CALL).total_seconds()
    while True:
        wait = await _ask_to_write(deps, asking, permit)
        if not wait:
            return wait is None
        if time.monotonic() + wait.total_seconds() > give_up_at:
            return True
        await asyncio.sleep(wait.total_seconds())


async def _ask_to_write(deps: WorkerDeps, asking: Asking, permit: Permit) -> timedelta | None:
    try:
        async with asyncio.timeout(_LOOK_WITHIN_SECONDS):
            return await deps.permits.ask_to_write(asking, permit)
    except (QueueUnavailable, TimeoutError):
        return timedelta(0)


def _given_up(*, is_cut_off: bool) -> CallReport:
    """Return the report of a call that was given up in the middle."""
    reason = "the worker gave the call up before there was an answer"
    return CallReport(
        outcome=InDoubt(reason=reason, error=NO_WORDS, is_cut_off=is_cut_off),
        sent_at=None,
    )
