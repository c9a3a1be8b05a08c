"""Passes a caller's call on to the vendor: signed with our credentials, under the shared limiter, once.

Takes: a call, and the permits of its kind.
Leaves: the vendor's answer as it came, and what it means for the calls of others in the limiter.
If it dies here: of a call that changes something nobody knows whether it was made.
"""

import asyncio
import time
from datetime import timedelta
from uuid import NAMESPACE_URL, uuid5

import structlog

from service.core.backoff import throttle_pause
from service.core.errors import QueueUnavailable
from service.core.model import WaitReason
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
#: When to come again, for whom there is no room to wait.
_COME_AGAIN = timedelta(seconds=1)

log = structlog.get_logger()


async def pass_on(
    deps: Deps, access: VendorAccess, call: VendorCall, *, permits: Permits
) -> Forwarded | Refused:
    """Take a turn and make the call; ``Refused`` where there is no turn soon.

    Raises:
        Unavailable: the limiter cannot be asked, so there is no call.
    """
    async with access.room.place(within=LONGEST_TURN) as has_place:
        if not has_place:
            return Refused(reason=WaitReason.CONCURRENCY, delay=_COME_AGAIN)
        return await _call_in_turn(deps, access, call, permits=permits)


async def _call_in_turn(
    deps: Deps, access: VendorAccess, call: VendorCall, *, permits: Permits
) -> Forwarded | Refused:
    asking = caller_of_vendor(call.project_id, call.workspace)
    turn = await take_turn(permits, asking)
    if isinstance(turn, Refused):
        return turn
    forwarded = await access.client.forward(call)
    await _tell(deps, permits, asking, turn, forwarded)
    if forwarded.failure is not None:
        _log_failure(call, forwarded.failure)
    return forwarded


def caller_of_vendor(project_id: str, workspace: str) -> Asking:
    """Name who asks the limiter: one place in its queue for all of a workspace's callers.

    So a look at the lists for a call in doubt, which has a place of its own, waits behind one of them and not all.
    """
    key = uuid5(NAMESPACE_URL, f"facade:{project_id}/{workspace}")
    return Asking(batch_key=key, project_id=project_id, workspace=workspace)


async def take_turn(permits: Permits, asking: Asking) -> Permit | Refused:
    """Wait until a call is due by the rate; return the last refusal where that is not soon.

    As a look at the lists it takes no place among the calls at once: slow ones would keep the others from theirs.

    Raises:
        Unavailable: the limiter cannot be asked.
    """
    give_up_at = time.monotonic() + LONGEST_TURN.total_seconds()
    while True:
        answer = await permits.ask(asking)
        if isinstance(answer, Permit):
            await permits.conclude(asking, answer, outcome=None, pause=None)
            return answer
        if time.monotonic() + answer.delay.total_seconds() > give_up_at:
            return answer
        await asyncio.sleep(answer.delay.total_seconds())


async def _tell(deps: Deps, permits: Permits, asking: Asking, turn: Permit, forwarded: Forwarded) -> None:
    """Let all processes know what an answer means for their calls."""
    failure = forwarded.failure
    try:
        if failure is None:
            changed = await permits.accept(asking, turn)
        else:
            pause = _pause_after(deps, failure)
            changed = await permits.conclude(asking, turn, outcome=failure, pause=pause)
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
