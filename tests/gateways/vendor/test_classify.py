"""What each answer of the vendor means."""

import pytest

from service.core.outcomes import (
    InDoubt,
    NotSent,
    NotSentCause,
    Outcome,
    Rejected,
    Released,
    VendorError,
)
from service.gateways.vendor.classify import classify, is_unknown_object
from service.gateways.vendor.words import vendor_error
from tests.gateways.vendor.samples import answer, gateway_error

CREATED = {"package_name": "batch_1", "release_package_id": "13"}


@pytest.mark.parametrize("package_id", ["13", 13, " 13 "])
@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_with_an_id_is_released(status: int, package_id: object) -> None:
    """A 2xx with a package id means released, whether the id is a text or a number."""
    outcome = classify(answer(status, {"release_package_id": package_id}, headers={"x-request-id": "r9"}))

    assert Released(release_package_id="13", request_id="r9") == outcome


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>ok</html>",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"release_package_id":NaN}',
        {},
        {"release_package_id": None},
        {"release_package_id": ""},
        {"release_package_id": "  "},
        {"release_package_id": 13.5},
        {"release_package_id": True},
        {"release_package_id": 0},
        {"release_package_id": "-1"},
        {"release_package_id": ["13"]},
        {"release_package_id": "1\u00003"},
        {"release_package_id": "1" * 129},
        {"error_code": "DLF.3051", "error_msg": "no"},
    ],
)
def test_success_without_an_id_is_in_doubt(body: object) -> None:
    """A 2xx that brings no usable package id proves nothing."""
    outcome = classify(answer(200, body))

    assert isinstance(outcome, InDoubt)
    assert outcome.reason == "no_release_package_id"


@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500])
def test_a_truncated_answer_is_in_doubt(status: int) -> None:
    """An answer that broke off proves nothing, whatever its first half says."""
    outcome = classify(answer(status, CREATED, is_truncated=True))

    assert isinstance(outcome, InDoubt)
    assert outcome.reason == "broken_answer"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (300, "redirect"),
        (301, "redirect"),
        (302, "redirect"),
        (304, "redirect"),
        (307, "redirect"),
        (308, "redirect"),
        (408, "request_timeout"),
        (500, "status_500"),
        (501, "status_501"),
        (502, "status_502"),
        (503, "status_503"),
        (504, "status_504"),
        (599, "status_599"),
        (101, "status_101"),
        (999, "status_999"),
    ],
)
def test_statuses_that_prove_nothing_are_in_doubt(status: int, reason: str) -> None:
    """Redirects, timeouts and server errors prove nothing, even if they name a package."""
    outcome = classify(answer(status, CREATED))

    assert isinstance(outcome, InDoubt)
    assert outcome.reason == reason


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "APIGW.0201"),
        (502, "APIGW.0201"),
        (502, "APIGW.0202"),
        (504, "APIGW.0203"),
        (500, "APIGW.0601"),
        (500, "APIG.0705"),
        (503, "APIGW.0610"),
        (502, "APIGW.0613"),
        (503, "XAPIGW.0613"),
        (500, "APIG.0104"),
    ],
)
def test_gateway_errors_that_may_come_late_are_in_doubt(status: int, code: str) -> None:
    """A gateway error that does not say "not passed on" leaves the call in doubt."""
    assert isinstance(classify(gateway_error(status, code)), InDoubt)


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "APIGW.0613"), (503, "APIG.0613"), (502, "APIGW.0610"), (502, "APIG.0610")],
)
def test_gateway_errors_before_the_backend_are_not_sent(status: int, code: str) -> None:
    """IAM unavailable and no backend available mean that the service never saw the call."""
    outcome = classify(gateway_error(status, code))

    assert isinstance(outcome, NotSent)
    assert outcome.cause is NotSentCause.UNAVAILABLE


@pytest.mark.parametrize("code", ["DLF.0815", "DLF.20815", "DLF.6423", "DLF.26423", "DLF.36423"])
def test_transient_service_errors_are_not_sent(code: str) -> None:
    """The two codes that say "try again later" are tried again, in their old and their new spelling."""
    outcome = classify(gateway_error(400, code))

    assert isinstance(outcome, NotSent)
    assert outcome.cause is NotSentCause.UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "code", "may_be_an_item"),
    [
        (400, "DLF.3051", True),
        (400, "DLF.0810", True),
        (400, "DLF.20810", True),
        (400, "DLF.20819", False),
        (400, "DLF.6888", False),
        (400, "DLF.0802", False),
        (400, "DLF.10815", True),
        (404, "DLF.0815", False),
        (404, "APIGW.0101", False),
        (400, "APIGW.0106", False),
        (413, "APIGW.0201", False),
        (405, "APIGW.0501", False),
        (400, "APIG.0602", False),
        (409, "", False),
        (494, "APIGW.0201", False),
    ],
)
def test_other_client_errors_are_rejected(status: int, code: str, may_be_an_item: bool) -> None:
    """A 4xx in the vendor's form is its refusal, with its own words kept; some may be the fault of one item."""
    expected = VendorError(status=status, error_code=code or None, error_msg="no", request_id="r1")

    assert Rejected(error=expected, may_be_an_item=may_be_an_item) == classify(gateway_error(status, code))


@pytest.mark.parametrize("body", [b"", b"<html>Bad Request</html>", b"[1]"])
def test_a_client_error_in_foreign_words_is_in_doubt(body: bytes) -> None:
    """A 4xx that is not in the vendor's form is no proof of its refusal."""
    outcome = classify(answer(400, body))

    assert isinstance(outcome, InDoubt)
    assert outcome.reason == "unreadable_answer"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"", b"<html>", {"error_code": "APIGW.0301", "error_msg": "verify aksk"}])
def test_refused_credentials_are_not_sent(status: int, body: object) -> None:
    """401 and 403 come before the service, in whatever words."""
    outcome = classify(answer(status, body), is_token_auth=True)

    assert isinstance(outcome, NotSent)
    assert outcome.cause is NotSentCause.AUTHENTICATION


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("APIGW.0307", "The token must be updated."),
        ("APIG.0307", "The token must be updated."),
        ("APIGW.0301", "token expires, expires_at:2020-01-04"),
        ("APIG.0301", "Decrypt token fail"),
    ],
)
def test_a_stale_token_is_told_from_wrong_credentials(code: str, message: str) -> None:
    """A 401 that speaks of the token asks for a new one with token authentication, never with a key."""
    refused = gateway_error(401, code, message)

    causes = [classify(refused, is_token_auth=True), classify(refused)]

    assert [cause_of(outcome) for outcome in causes] == [NotSentCause.TOKEN, NotSentCause.AUTHENTICATION]


def test_a_forbidden_token_is_not_renewed() -> None:
    """A 403 is about permission: a new token would not help."""
    refused = gateway_error(403, "APIGW.0307", "token expires")

    assert cause_of(classify(refused, is_token_auth=True)) is NotSentCause.AUTHENTICATION


@pytest.mark.parametrize(
    ("code", "expected"), [("DLF.0810", True), ("DLF.20810", True), ("DLF.3051", False), ("", False)]
)
def test_an_unknown_package_is_recognised(code: str, expected: bool) -> None:
    """Both spellings of "task does not exist" are known."""
    error = vendor_error(gateway_error(400, code))

    assert expected is is_unknown_object(error)


def cause_of(outcome: Outcome) -> NotSentCause | None:
    return outcome.cause if isinstance(outcome, NotSent) else None
