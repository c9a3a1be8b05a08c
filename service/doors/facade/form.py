"""Errors in the vendor's form: what its gateway or its service would say.

Source: API Gateway, "Error Codes"; DataArts Studio API reference, "Error Codes".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from service.doors.problems import Problem

PREFIX = "/v2/"
NOT_PUBLISHED = "APIGW.0101"
HEADER_MISSING = "APIGW.0106"
BAD_CALL = "APIGW.0201"
BACKEND_UNAVAILABLE = "APIGW.0202"
BACKEND_TIMEOUT = "APIGW.0203"
NOT_AUTHENTICATED = "APIGW.0301"
#: Every 401 says how to come in (RFC 9110, 15.5.2).
_CHALLENGE = "SDK-HMAC-SHA256"
NOT_ALLOWED = "APIGW.0302"
THROTTLED = "APIGW.0308"
INVALID_PARAMETER = "DLF.3051"
_LONGEST_MESSAGE = 10_000
_GATEWAY = "APIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorForm:
    """An error as the vendor would give it."""

    status: int
    error_code: str
    error_msg: str
    headers: Mapping[str, str] = field(default_factory=dict)


class VendorFormError(Exception):
    """Ends a call of the façade with an error in the vendor's form."""

    def __init__(self, form: VendorForm) -> None:
        super().__init__(form.error_msg)
        self.form = form


#: Of what has no code of the vendor's own.
_STATUS_AND_CODE = {
    401: (401, NOT_AUTHENTICATED),
    403: (403, NOT_ALLOWED),
    404: (404, NOT_PUBLISHED),
    405: (404, NOT_PUBLISHED),
    408: (408, BAD_CALL),
    413: (413, BAD_CALL),
    415: (415, BAD_CALL),
    429: (429, THROTTLED),
    500: (500, BAD_CALL),
    503: (503, BACKEND_UNAVAILABLE),
}


def of_problem(problem: Problem) -> VendorForm:
    """Say a problem as the vendor would; what its caller can correct is an invalid parameter."""
    status, code = _STATUS_AND_CODE.get(problem.status, (400, INVALID_PARAMETER))
    kept = {name: value for name, value in problem.headers.items() if name == "Retry-After"}
    return VendorForm(status=status, error_code=code, error_msg=_message_of(problem, status), headers=kept)


def _message_of(problem: Problem, status: int) -> str:
    match status:
        case 404:
            return not_published().error_msg
        case 401:
            return f"Incorrect IAM authentication information: {problem.detail}"
        case 400:
            errors = [f"{error['pointer']}: {error['detail']}" for error in problem.members.get("errors", ())]
            return " ".join(["The request parameter is invalid.", *(errors or [problem.detail])])
        case 503:
            # The rest of its words is about idempotency keys, which these callers have not.
            return f"Backend unavailable: {problem.detail.partition('. ')[0]}"
        case 429:
            return f"The throttling threshold has been reached: {problem.detail}"
        case _:
            return problem.detail


def not_published() -> VendorForm:
    """Say that there is no such API, or none that the caller may see."""
    return VendorForm(
        status=404,
        error_code=NOT_PUBLISHED,
        error_msg="The API does not exist or has not been published in the environment",
    )


def not_authenticated(detail: str) -> VendorForm:
    """Say why a signature proves nothing."""
    return VendorForm(
        status=401,
        error_code=NOT_AUTHENTICATED,
        error_msg=f"Incorrect IAM authentication information: {detail}",
    )


def header_missing(name: str) -> VendorForm:
    """Say which header is missing."""
    return VendorForm(
        status=400,
        error_code=HEADER_MISSING,
        error_msg=f"Orchestration error: Invalid header parameter: {name}, required",
    )


def invalid_parameter(detail: str) -> VendorForm:
    """Say what is wrong with a parameter."""
    return VendorForm(
        status=400, error_code=INVALID_PARAMETER, error_msg=f"The request parameter is invalid. {detail}"
    )


def unavailable(detail: str, *, retry_after: int = 5) -> VendorForm:
    """Say that what is behind the façade does not do this now."""
    return VendorForm(
        status=503,
        error_code=BACKEND_UNAVAILABLE,
        error_msg=f"Backend unavailable: {detail}",
        headers={"Retry-After": str(retry_after)},
    )


def timed_out(detail: str) -> VendorForm:
    """Say that the outcome is not known yet."""
    return VendorForm(status=504, error_code=BACKEND_TIMEOUT, error_msg=f"Backend timeout: {detail}")


def throttled(detail: str, *, retry_after: int) -> VendorForm:
    """Say that there are too many calls."""
    return VendorForm(
        status=429,
        error_code=THROTTLED,
        error_msg=f"The throttling threshold has been reached: {detail}",
        headers={"Retry-After": str(retry_after)},
    )


def respond(form: VendorForm, *, http_request_id: str) -> web.Response:
    """Write an error; those of the gateway name the request."""
    members = {"error_code": form.error_code, "error_msg": form.error_msg[:_LONGEST_MESSAGE]}
    challenge = {"WWW-Authenticate": _CHALLENGE} if form.error_code == NOT_AUTHENTICATED else {}
    if form.error_code.startswith(_GATEWAY):
        members["request_id"] = http_request_id
    return web.Response(
        status=form.status,
        body=orjson.dumps(members),
        headers={**form.headers, **challenge},
        content_type="application/json",
    )
