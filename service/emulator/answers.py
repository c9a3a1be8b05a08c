"""The vendor's answers in the vendor's words (DataArts Studio "Error Codes", API Gateway "Error Codes")."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import orjson

JSON_TYPE = "application/json"

THROTTLED_CODE = "APIGW.0308"
AUTHENTICATION_CODE = "APIGW.0301"
TOKEN_CODE = "APIGW.0307"  # noqa: S105 - an error code, not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer before it leaves."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    error_code: str | None = None

    def stamped(self, request_id: str) -> "Answer":
        """Add the header that every answer of the gateway carries."""
        return replace(self, headers={**self.headers, "X-Request-Id": request_id})


def ok(document: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with a JSON document."""
    return Answer(status=status, body=orjson.dumps(document), headers=headers or {})


def gateway_error(
    status: int, error_code: str, *, error_msg: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """Answer as the gateway does, before the service has seen the call."""
    document = {"error_msg": error_msg, "error_code": error_code, "request_id": request_id}
    return Answer(status=status, body=orjson.dumps(document), headers=headers or {}, error_code=error_code)


def service_error(error_code: str, error_msg: str) -> Answer:
    """Answer as the service does: every error of it is an HTTP 400."""
    document = {"error_code": error_code, "error_msg": error_msg}
    return Answer(status=400, body=orjson.dumps(document), error_code=error_code)


def iam_error(status: int, message: str) -> Answer:
    """Answer as IAM does, with a nested error."""
    title = "Unauthorized" if status == 401 else "Bad Request"  # noqa: PLR2004 - an HTTP status
    document = {"error": {"code": status, "message": message, "title": title}}
    return Answer(status=status, body=orjson.dumps(document), error_code=str(status))


def not_published(request_id: str) -> Answer:
    """Refuse a path or method that no API has."""
    text = "The API does not exist or has not been published in the environment"
    return gateway_error(404, "APIGW.0101", error_msg=text, request_id=request_id)


def not_authenticated(detail: str, *, request_id: str) -> Answer:
    """Refuse the credentials."""
    text = f"Incorrect IAM authentication information: {detail}"
    return gateway_error(401, AUTHENTICATION_CODE, error_msg=text, request_id=request_id)


def throttled(
    policy: str, limit: int, *, request_id: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """Refuse a call over its rate; the text names the policy, as the gateway's does."""
    scope = f"policy {policy} over ratelimit,limit:{limit},time:1 second"
    text = f"The throttling threshold has been reached: {scope}"
    return gateway_error(429, THROTTLED_CODE, error_msg=text, request_id=request_id, headers=headers)


def header_missing(name: str, *, request_id: str) -> Answer:
    """Refuse a call without a header that the API's orchestration needs."""
    text = f"Orchestration error: Invalid header parameter: {name}, required"
    return gateway_error(400, "APIGW.0106", error_msg=text, request_id=request_id)


def body_too_large(request_id: str) -> Answer:
    """Refuse a body over 12 MB."""
    text = "The request body exceeds the maximum of 12 MB"
    return gateway_error(413, "APIGW.0201", error_msg=text, request_id=request_id)


def invalid_parameter() -> Answer:
    """Refuse with the catch-all code; it never says which member or item is wrong."""
    return service_error("DLF.3051", "The request parameter is invalid.")


def no_such_workspace() -> Answer:
    """Refuse an unknown workspace."""
    return service_error("DLF.20819", "The workspace does not exist.")


def no_such_task() -> Answer:
    """Refuse an unknown package."""
    return service_error("DLF.20810", "Task does not exist.")


def already_released() -> Answer:
    """Refuse to touch a package that was released."""
    text = "Cannot perform the operation because the release package has been released."
    return service_error("DLF.20990", text)
