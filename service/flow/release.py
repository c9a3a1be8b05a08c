"""Makes the one call for a batch.

Takes: a claimed batch with its open attempt, and a permit.
Leaves: a report of what the call came to, handed on to settle.
If it dies here: nobody knows whether the call was made; the lease runs out and the batch is in doubt.
"""

import asyncio
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedBatch:
    """A batch that this worker may send, while enough of its lease is left."""

    batch: Batch
    #: A moment of ``time.monotonic()``; from then on nothing is written to the vendor.
    write_before: float


async def release_batch(deps: WorkerDeps, claimed: ClaimedBatch, *, asking: Asking, permit: Permit) -> None:
    """Call the vendor for a batch and settle what comes of it, also where the call is cut off."""
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
        await asyncio.shield(settle(deps, claimed.batch, report, asking=asking, permit=permit))


async def is_held(deps: WorkerDeps, asking: Asking, permit: Permit) -> bool:
    """Tell whether the permit has become void meanwhile: others have learned that such calls must wait."""
    try:
        async with asyncio.timeout(_LOOK_WITHIN_SECONDS):
            return await deps.permits.is_held(asking, permit)
    except (QueueUnavailable, TimeoutError):
        return False


def _given_up(*, is_cut_off: bool) -> CallReport:
    """Return the report of a call that was given up in the middle."""
    reason = "the worker gave the call up before there was an answer"
    return CallReport(
        outcome=InDoubt(reason=reason, error=NO_WORDS, is_cut_off=is_cut_off),
        sent_at=None,
    )
