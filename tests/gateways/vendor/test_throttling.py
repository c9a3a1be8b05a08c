"""What a 429 says: how long to wait, and whose calls it stops."""

from datetime import timedelta
from email.utils import format_datetime

import pytest

from service.core.outcomes import (
    Throttled,
    ThrottleScope,
)
from service.gateways.vendor.classify import classify
from tests.gateways.vendor.samples import NOW, answer, gateway_error

HOUR = timedelta(hours=1)


USER_POLICY = "The throttling threshold has been reached: policy user over ratelimit,limit:10,time:1 second"


@pytest.mark.parametrize(
    ("header", "message", "expected"),
    [
        ("3", USER_POLICY, timedelta(seconds=3)),
        (" 3 ", "", timedelta(seconds=3)),
        ("0", "", timedelta(0)),
        ("7200", "", HOUR),
        ("9" * 5000, "", HOUR),
        (format_datetime(NOW + timedelta(seconds=4), usegmt=True), "", timedelta(seconds=5)),
        (format_datetime(NOW - timedelta(seconds=4), usegmt=True), "", None),
        (format_datetime(NOW - timedelta(seconds=4), usegmt=True), USER_POLICY, timedelta(seconds=1)),
        (format_datetime(NOW + timedelta(days=4), usegmt=True), "", HOUR),
        ("garbage", USER_POLICY, timedelta(seconds=1)),
        ("-5", "limit:10,time:1 minute", timedelta(minutes=1)),
        ("1.5", "limit:10,time:2 minutes", timedelta(minutes=2)),
        ("", "limit:10,time:1 day", HOUR),
        ("", "over ratelimit", None),
        ("soon", "", None),
        ("\u0663", "", None),
    ],
)
def test_the_wait_after_a_throttle(header: str, message: str, expected: timedelta | None) -> None:
    """The wait is the header's, a second more for a date, else the text's window, else unknown; an hour at most."""
    body = {"error_code": "APIGW.0308", "error_msg": message}

    outcome = classify(answer(429, body, headers={"retry-after": header}))

    assert isinstance(outcome, Throttled)
    assert expected == outcome.retry_after


@pytest.mark.parametrize(
    ("message", "scope"),
    [
        (USER_POLICY, ThrottleScope.OPERATION),
        ("policy api over ratelimit,limit:100,time:1 second", ThrottleScope.OPERATION),
        ("Policy  User over ratelimit", ThrottleScope.OPERATION),
        ("workspace d1cd over ratelimit", ThrottleScope.WORKSPACE),
        ("policy userland over ratelimit", ThrottleScope.UNKNOWN),
        ("", ThrottleScope.UNKNOWN),
    ],
)
def test_the_scope_of_a_throttle(message: str, scope: ThrottleScope) -> None:
    """A policy on the user or the API stops the operation; any other text stops the workspace of the call."""
    outcome = classify(gateway_error(429, "APIGW.0308", message))

    assert isinstance(outcome, Throttled)
    assert scope is outcome.scope


def test_a_throttle_without_words_is_a_throttle() -> None:
    """A bare 429 is enough to know that the service did not see the call."""
    assert isinstance(classify(answer(429, b"")), Throttled)
