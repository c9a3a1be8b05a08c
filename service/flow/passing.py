"""Passes a caller's call on to the vendor: signed with our credentials, under the shared limiter, once.

Takes: a call, and the permits of its kind.
Leaves: the vendor's answer as it came, and what it means for the calls of others in the limiter.
If it dies here: the permit ends with its life; of a call that changes something nobody knows whether it was made.
"""

import asyncio
import time
from datetime import timedelta

import structlog

from service.core.backoff import throttle_pause
from service.core.errors import QueueUnavailable
from service.core.ids import new_id
from service.core.outcomes import NotSent, NotSentCause, Throttled
from service.core.telemetry import LogEvent
from service.deps import Deps
from service.flow.breakers import keep_breakers
from service.gateways.access import VendorAccess
from service.gateways.limits import Asking
from service.gateways.permits import Permit, Permits, Refused
from service.gateways.vendor.calls import VendorCall
from service.gateways.vendor.classify import Failure
from service.gateways.vendor.client import Forwarded

#: A call waits this long for its turn; then its caller is told to come again.
LONGEST_TURN = timedelta(seconds=10)

log = structlog.get_logger()


async def pass_on(
    deps: Deps, access: VendorAccess, call: VendorCall, *, permits: Permits
) -> Forwarded | Refused:
    """Take a turn and make the call; ``Refused`` where there is no turn soon.

    Raises:
        Unavailable: the limiter cannot be asked, so there is no call.
    """
    asking = Asking(batch_key=new_id(), project_id=call.project_id, workspace=call.workspace)
    permit = await _take_turn(permits, asking)
    if isinstance(permit, Refused):
        return permit
    forwarded: Forwarded | None = None
    try:
        forwarded = await access.client.forward(call)
    finally:
        await _conclude(deps, permits, asking, permit, forwarded)
    if forwarded.failure is not None:
        _log_failure(call, forwarded.failure)
    return forwarded


async def _take_turn(permits: Permits, asking: Asking) -> Permit | Refused:
    give_up_at = time.monotonic() + LONGEST_TURN.total_seconds()
    while True:
        answer = await permits.ask(asking)
        if isinstance(answer, Permit):
            return answer
        if time.monotonic() + answer.delay.total_seconds() > give_up_at:
            return answer
        await asyncio.sleep(answer.delay.total_seconds())


async def _conclude(
    deps: Deps, permits: Permits, asking: Asking, permit: Permit, forwarded: Forwarded | None
) -> None:
    """Hand the permit back, and let all processes know what the answer means for them."""
    failure = forwarded.failure if forwarded else None
    try:
        if forwarded is not None and failure is None:
            changed = await permits.accept(asking, permit)
        else:
            pause = _pause_after(deps, failure)
            changed = await permits.conclude(asking, permit, outcome=failure, pause=pause)
    except QueueUnavailable as error:
        log.warning(LogEvent.QUEUE_LOST, reason=str(error))
    else:
        await keep_breakers(deps, changed, words=failure.error.error_msg if failure else None)


def _pause_after(deps: Deps, failure: Failure | None) -> timedelta | None:
    match failure:
        case Throttled(retry_after=retry_after):
            return throttle_pause(retry_after)
        case NotSent(cause=NotSentCause.AUTHENTICATION):
            return deps.settings.retry_policy.authentication_pause
        case _:
            return None  # concerns this call alone


def _log_failure(call: VendorCall, failure: Failure) -> None:
    log.warning(
        LogEvent.FORWARD_FAILED,
        method=call.method,
        path=call.path,
        workspace=call.workspace,
        status=failure.error.status,
        vendor_code=failure.error.error_code,
        vendor_message=failure.error.error_msg,
    )
