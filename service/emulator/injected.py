"""The wrong answers: what a fault says instead of the service's answer."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson

from service.emulator import answers
from service.emulator.answers import Answer
from service.emulator.faults import FaultName, FaultRule
from service.emulator.vendor_call import VendorCall

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_GARBAGE = b'{"package_name": \xff\xfe <<<'

#: Status, error code and text of the gateway's own errors.
_GATEWAY_ERRORS: Mapping[FaultName, tuple[int, str, str]] = {
    FaultName.INTERNAL_ERROR_BEFORE: (500, "APIGW.0601", "Internal server error"),
    FaultName.INTERNAL_ERROR_AFTER: (500, "APIGW.0601", "Internal server error"),
    FaultName.BACKEND_UNAVAILABLE_BEFORE: (502, "APIGW.0202", "Backend unavailable"),
    FaultName.BACKEND_UNAVAILABLE_AFTER: (502, "APIGW.0202", "Backend unavailable"),
    FaultName.IAM_UNAVAILABLE_BEFORE: (503, "APIGW.0613", "IAM unavailable"),
    FaultName.BACKEND_TIMEOUT_BEFORE: (504, "APIGW.0203", "Backend timeout"),
    FaultName.BACKEND_TIMEOUT_AFTER: (504, "APIGW.0203", "Backend timeout"),
    FaultName.TOKEN_EXPIRED: (401, answers.TOKEN_CODE, "The token must be updated."),
}

_FOREIGN_ANSWERS: Mapping[FaultName, Answer] = {
    FaultName.UNAVAILABLE_AFTER: Answer(
        status=503, body=b"upstream connect error", content_type="text/plain"
    ),
    FaultName.HTML_502: Answer(status=502, body=_HTML, content_type="text/html"),
    FaultName.GARBAGE_200: Answer(status=200, body=_GARBAGE),
    FaultName.EMPTY_200: Answer(status=200),
    FaultName.REDIRECT_302: Answer(
        status=302, content_type="text/html", headers={"Location": "/v2/elsewhere"}
    ),
}


def disguise(answer: Answer, rule: FaultRule, call: VendorCall) -> Answer:
    """Return what the client hears in place of the service's answer."""
    fault = rule.fault
    if fault in _GATEWAY_ERRORS:
        status, error_code, text = _GATEWAY_ERRORS[fault]
        return answers.gateway_error(status, error_code, error_msg=text, request_id=call.request_id)
    match fault:
        case FaultName.THROTTLED:
            return _throttle(rule, call)
        case FaultName.SIGNATURE_REFUSED:
            return answers.not_authenticated("verify aksk signature fail", request_id=call.request_id)
        case FaultName.NO_ID_200:
            return _without_id(answer)
        case _:
            return _FOREIGN_ANSWERS.get(fault, answer)


def _throttle(rule: FaultRule, call: VendorCall) -> Answer:
    policy = "user" if rule.workspace is None else f"workspace {rule.workspace}"
    headers = {} if rule.retry_after is None else {"Retry-After": _retry_after(rule.retry_after, call)}
    return answers.throttled(policy, 10, request_id=call.request_id, headers=headers)


def _retry_after(text: str, call: VendorCall) -> str:
    form, _, seconds = text.partition(":")
    if form != "date":
        return text
    moment = datetime.fromtimestamp(call.arrival.at, tz=UTC) + timedelta(seconds=int(seconds))
    return format_datetime(moment, usegmt=True)


def _without_id(answer: Answer) -> Answer:
    document: object = orjson.loads(answer.body or b"{}")
    members = document if isinstance(document, dict) else {}
    kept = {name: value for name, value in members.items() if name != "release_package_id"}
    return replace(answer, status=200, body=orjson.dumps(kept), error_code=None)
