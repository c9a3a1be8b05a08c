"""Decides what an answer means: pure, for every status and every body.

Sources: DataArts Studio API reference, "Error Codes"; API Gateway, "Error Codes". Where they leave a
doubt, the answer is in doubt: that costs a look into the vendor's lists, never a second package.
"""

import re
from http import HTTPStatus

from service.core.outcomes import (
    InDoubt,
    NotSent,
    NotSentCause,
    Outcome,
    Rejected,
    Released,
    Throttled,
    VendorError,
)
from service.gateways.vendor.answer import Answer
from service.gateways.vendor.throttling import throttled
from service.gateways.vendor.words import (
    gateway_code,
    json_object,
    request_id_of,
    service_code,
    text_of,
    vendor_error,
)

Failure = Rejected | Throttled | NotSent | InDoubt

_SUCCESS = range(200, 300)
_REDIRECT = range(300, 400)
_CLIENT_ERROR = range(400, 500)
#: Zero and signs are what broken services answer for "none".
_PACKAGE_ID = re.compile(r"(?!0+$)[0-9A-Za-z][\w.:-]{0,127}", re.ASCII)
#: OBS file not accessible, agent exception: "Try again later".
_TRANSIENT_SERVICE_CODES = frozenset({"0815", "6423"})
#: Workspace unknown, setting missing, account without permission: the items have no part in it.
_CODES_OF_THE_CALL = frozenset({"0819", "0802", "6888"})
_TOKEN_CODE = "0307"  # noqa: S105 - an error code, not a secret
_TOKEN_TEXTS = ("token expires", "decrypt token fail")
#: Status and gateway code that say: the backend did not see the call.
_NOT_PASSED_ON = frozenset({(502, "0610"), (503, "0613")})


def classify(answer: Answer, *, is_token_auth: bool = False) -> Outcome:
    """Return the outcome of a create; ``is_token_auth`` tells that the call was made with an IAM token."""
    if not is_success(answer):
        return classify_failure(answer, is_token_auth=is_token_auth)
    package_id = _release_package_id(answer)
    if package_id is None:
        return InDoubt(reason="no_release_package_id", error=vendor_error(answer))
    return Released(release_package_id=package_id, request_id=request_id_of(answer))


def classify_failure(answer: Answer, *, is_token_auth: bool = False) -> Failure:
    """Return what an answer means that does not bring what was asked for."""
    error = vendor_error(answer)
    match answer.status:
        case _ if answer.is_truncated:
            return InDoubt(reason="broken_answer", error=error)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return throttled(answer, error)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return NotSent(cause=_refusal(error, is_token_auth=is_token_auth), error=error)
        case status if status in _CLIENT_ERROR:
            return _client_error(answer, error)
        case status:
            return _doubtful(status, error)


def is_success(answer: Answer) -> bool:
    """Tell whether an answer is a whole 2xx."""
    return answer.status in _SUCCESS and not answer.is_truncated


def is_service_error(error: VendorError) -> bool:
    """Tell whether the service itself refused; its gateway may refuse before it looks at the signature."""
    return service_code(error) is not None


def may_be_an_item(error: VendorError) -> bool:
    """Tell whether a refusal may be the fault of one item: the vendor's catch-all DLF.3051 names none."""
    is_service_s = error.status == HTTPStatus.BAD_REQUEST and gateway_code(error) is None
    return is_service_s and service_code(error) not in _CODES_OF_THE_CALL


def is_unknown_object(error: VendorError) -> bool:
    """Tell whether the vendor says that the package or the item does not exist (DLF.0810, DLF.20810)."""
    return service_code(error) == "0810"


def _release_package_id(answer: Answer) -> str | None:
    members = json_object(answer.body) or {}
    found = (text_of(members.get("release_package_id")) or "").strip()
    return found if _PACKAGE_ID.fullmatch(found) else None


def _refusal(error: VendorError, *, is_token_auth: bool) -> NotSentCause:
    text = (error.error_msg or "").lower()
    is_token = gateway_code(error) == _TOKEN_CODE or any(words in text for words in _TOKEN_TEXTS)
    if is_token_auth and is_token and error.status == HTTPStatus.UNAUTHORIZED:
        return NotSentCause.TOKEN
    return NotSentCause.AUTHENTICATION


def _client_error(answer: Answer, error: VendorError) -> Failure:
    if answer.status == HTTPStatus.REQUEST_TIMEOUT:
        return InDoubt(reason="request_timeout", error=error)
    if json_object(answer.body) is None:
        return InDoubt(reason="unreadable_answer", error=error)
    if answer.status == HTTPStatus.BAD_REQUEST and service_code(error) in _TRANSIENT_SERVICE_CODES:
        return NotSent(cause=NotSentCause.UNAVAILABLE, error=error)
    return Rejected(error=error, may_be_an_item=may_be_an_item(error))


def _doubtful(status: int, error: VendorError) -> Failure:
    if (status, gateway_code(error)) in _NOT_PASSED_ON:
        return NotSent(cause=NotSentCause.UNAVAILABLE, error=error)
    if status in _REDIRECT:
        return InDoubt(reason="redirect", error=error)
    return InDoubt(reason=f"status_{status}", error=error)
