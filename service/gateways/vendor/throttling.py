"""Reads a 429: how long to wait, and whose calls it stops."""

import re
from datetime import timedelta

from service.core.outcomes import Throttled, ThrottleScope, VendorError
from service.gateways.vendor.answer import Answer, parse_http_date

MAX_RETRY_AFTER = timedelta(hours=1)
#: An HTTP date has whole seconds; whether the sender rounded it up or down is not known.
_DATE_RESOLUTION = timedelta(seconds=1)
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_LONG_SECONDS = re.compile(r"\d+", re.ASCII)
_WINDOW = re.compile(r"time:\s*(\d{1,6})\s*(second|minute|hour|day)", re.IGNORECASE | re.ASCII)
_WORKSPACE = re.compile(r"\bworkspace\b", re.IGNORECASE)
_CREDENTIAL_POLICY = re.compile(r"\bpolicy\s+(user|api)\b", re.IGNORECASE)


def throttled(answer: Answer, error: VendorError) -> Throttled:
    """Describe a 429."""
    return Throttled(error=error, retry_after=retry_after(answer, error), scope=scope_of(error))


def retry_after(answer: Answer, error: VendorError) -> timedelta | None:
    """Return how long to wait: by ``Retry-After``, else by the window that the text names, else None.

    An hour at most; a date that is past says nothing. Sources: RFC 9110, 10.2.3, and API Gateway, "Error Codes",
    APIG.0308.
    """
    wait = _from_header(answer)
    if wait is None:
        wait = _from_text(error.error_msg or "")
    return None if wait is None else min(wait, MAX_RETRY_AFTER)


def scope_of(error: VendorError) -> ThrottleScope:
    """Return whose calls stop: the operation's for a policy on user or API, the workspace's where it is named."""
    if _CREDENTIAL_POLICY.search(error.error_msg or ""):
        return ThrottleScope.OPERATION
    return ThrottleScope.WORKSPACE if _WORKSPACE.search(error.error_msg or "") else ThrottleScope.UNKNOWN


def _from_header(answer: Answer) -> timedelta | None:
    value = answer.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return timedelta(seconds=int(value))
    if _LONG_SECONDS.fullmatch(value):
        return MAX_RETRY_AFTER
    date = parse_http_date(value)
    if date is None or date <= answer.received_at:
        return None
    return date - answer.received_at + _DATE_RESOLUTION


def _from_text(text: str) -> timedelta | None:
    match = _WINDOW.search(text)
    if match is None:
        return None
    return timedelta(**{f"{match[2].lower()}s": int(match[1])})
