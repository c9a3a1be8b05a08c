"""Reads the vendor's error words out of an answer and makes them fit to store and to show."""

import re
from collections.abc import Mapping

import orjson

from service.core.outcomes import VendorError
from service.gateways.vendor.answer import Answer

MAX_MESSAGE_CHARACTERS = 2_000
_MAX_NAME_CHARACTERS = 128
_CODE_MEMBERS = ("error_code", "errorCode", "code")
_MESSAGE_MEMBERS = ("error_msg", "errorMsg", "message")
_GATEWAY_CODE = re.compile(r"APIGW?\.(\d{4})")
_SERVICE_CODE = re.compile(r"DLF\.[23]?(\d{4})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def vendor_error(answer: Answer) -> VendorError:
    """Take the error of an answer in whichever of the vendor's shapes it comes; never fails."""
    outer = _members_of(answer)
    nested = outer.get("error")
    members = nested if isinstance(nested, dict) else outer
    message = _first_text(members, _MESSAGE_MEMBERS)
    if message is None:
        message = answer.body[: MAX_MESSAGE_CHARACTERS * 4].decode(errors="replace") or None
    code = _first_text(members, _CODE_MEMBERS)
    return VendorError(
        status=answer.status,
        error_code=None if code is None else harmless(code, _MAX_NAME_CHARACTERS),
        error_msg=None if message is None else harmless(message, MAX_MESSAGE_CHARACTERS),
        request_id=request_id_of(answer),
    )


def wordless_error(detail: str) -> VendorError:
    """Return the error of a call that brought no answer; ``detail`` is ours."""
    message = harmless(detail, MAX_MESSAGE_CHARACTERS)
    return VendorError(status=None, error_code=None, error_msg=message, request_id=None)


def request_id_of(answer: Answer) -> str | None:
    """Return the vendor's id of the call, from its header or from the body of a gateway error."""
    members = _members_of(answer)
    found = answer.headers.get("x-request-id") or text_of(members.get("request_id"))
    return harmless(found, _MAX_NAME_CHARACTERS) if found else None


def gateway_code(error: VendorError) -> str | None:
    """Return the four digits of an ``APIGW.`` or ``APIG.`` code (API Gateway, "Error Codes")."""
    match = _GATEWAY_CODE.fullmatch(error.error_code or "")
    return match[1] if match else None


def service_code(error: VendorError) -> str | None:
    """Return the four digits of a ``DLF.`` code; the newer 2nnnn and 3nnnn mean the same as nnnn."""
    match = _SERVICE_CODE.fullmatch(error.error_code or "")
    return match[1] if match else None


def json_object(body: bytes) -> dict[str, object] | None:
    """Read a body as a JSON object, or return None."""
    try:
        parsed: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def text_of(value: object) -> str | None:
    """Return a text or a whole number as text, None for anything else: the vendor mixes the two."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)


def harmless(text: str, limit: int) -> str:
    """Cut a text and make it storable: control characters become spaces, lone surrogates a question mark."""
    return _CONTROL.sub(" ", text[:limit]).encode(errors="replace").decode()


def _members_of(answer: Answer) -> Mapping[str, object]:
    return {} if answer.is_truncated else json_object(answer.body) or {}


def _first_text(members: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := text_of(members.get(name)))), None)
