"""Calls that are passed on: what all of them have in common, from the way in to the vendor's answer on its way out."""

import math

from aiohttp import web

from service.core.model import WaitReason
from service.core.outcomes import NotSent, NotSentCause
from service.doors.facade.form import (
    BACKEND_UNAVAILABLE,
    VendorForm,
    VendorFormError,
    respond,
    throttled,
    timed_out,
    unavailable,
)
from service.doors.facade.keys import VENDOR
from service.doors.http import HTTP_REQUEST_ID
from service.gateways.access import VendorAccess
from service.gateways.permits import Refused
from service.gateways.vendor.answer import Answer
from service.gateways.vendor.client import Forwarded
from service.gateways.vendor.words import json_object, request_id_of

VENDOR_REQUEST_ID = "X-Vendor-Request-Id"
#: Longest answer of the vendor that is passed on.
MAX_ANSWER_BYTES = 16 << 20
_REDIRECT = range(300, 400)
_OUR_CREDENTIALS = frozenset({401, 403})


def access_of(request: web.Request) -> VendorAccess:
    """Return the access to the vendor.

    Raises:
        VendorFormError: this process has none.
    """
    access = request.app[VENDOR]
    if isinstance(access, VendorAccess):
        return access
    raise VendorFormError(unavailable(f"this service has no access to the vendor; {access.reason}"))


def render(request: web.Request, passed: Forwarded | Refused) -> web.Response:
    """Write what came of a call that was passed on."""
    form_or_answer = _judge(passed)
    if isinstance(form_or_answer, VendorForm):
        return respond(form_or_answer, http_request_id=request[HTTP_REQUEST_ID])
    return _untouched(form_or_answer)


def _judge(passed: Forwarded | Refused) -> VendorForm | Answer:
    match passed:
        case Refused():
            return _refusal_of(passed)
        case Forwarded(answer=None, failure=failure):
            return _without_answer(failure)
        case Forwarded(answer=answer) if answer is not None:
            return _unfit(answer) or answer
        case _:
            raise AssertionError("all cases are above")


def _refusal_of(refused: Refused) -> VendorForm:
    seconds = max(1, math.ceil(refused.delay.total_seconds()))
    if refused.reason is WaitReason.BREAKER_OPEN:
        return unavailable("the vendor refused this service's own credentials lately", retry_after=seconds)
    return throttled(f"no call for {seconds} s: {refused.reason.value}", retry_after=seconds)


def _without_answer(failure: object) -> VendorForm:
    match failure:
        case NotSent(cause=NotSentCause.UNREACHABLE):
            return unavailable("the vendor cannot be reached; the call was not made")
        case NotSent():
            return unavailable("the vendor's IAM gives no token; the call was not made")
        case _:
            return timed_out("the vendor did not answer; whether it carried the call out is not known")


def _unfit(answer: Answer) -> VendorForm | None:
    """Find answers that are not the vendor's words on this call: whatever stands between may write anything."""
    if answer.status in _OUR_CREDENTIALS:
        return unavailable("the vendor refuses this service's own credentials; the call was not carried out")
    is_readable = not answer.body or json_object(answer.body) is not None
    if answer.status in _REDIRECT or answer.is_truncated or not is_readable:
        return VendorForm(
            status=502,
            error_code=BACKEND_UNAVAILABLE,
            error_msg=f"Backend unavailable: the vendor's answer, status {answer.status}, cannot be read",
        )
    return None


def _untouched(answer: Answer) -> web.Response:
    headers = {
        name: answer.headers[name.lower()] for name in ("Retry-After",) if name.lower() in answer.headers
    }
    vendors_id = request_id_of(answer)
    if vendors_id is not None:
        headers[VENDOR_REQUEST_ID] = vendors_id
    return web.Response(
        status=answer.status, body=answer.body, headers=headers, content_type="application/json"
    )
