"""The vendor's words: read in every shape, kept, and made fit to store."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.outcomes import (
    Outcome,
    Released,
    VendorError,
)
from service.gateways.vendor.answer import Answer
from service.gateways.vendor.classify import classify
from tests.gateways.vendor.samples import NOW, answer


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": "X.1", "error_msg": "words"},
        {"errorCode": "X.1", "errorMsg": "words"},
        {"code": "X.1", "message": "words"},
        {"error": {"code": "X.1", "message": "words", "title": "Unauthorized"}},
    ],
)
def test_all_error_shapes_are_read(body: object) -> None:
    """The vendor's four shapes of an error bring the same code and words."""
    error = error_of(classify(answer(500, body)))

    assert (error.error_code, error.error_msg) == ("X.1", "words")


def test_words_are_made_fit_to_store() -> None:
    """Control characters become spaces and long words are cut, so that the database takes them."""
    body = {"error_code": "X\u0000\n", "error_msg": "a\u0000b\u001b[31m\u0085" + "x" * 3000}

    error = error_of(classify(answer(500, body, headers={"x-request-id": "r\u0007"})))

    assert error.error_code == "X  "
    assert error.error_msg is not None
    assert error.error_msg == "a b [31m " + "x" * 1991
    assert error.request_id == "r "


def test_a_header_that_is_no_text_is_made_text() -> None:
    """Bytes that are not UTF-8 in a header do not come through as lone surrogates."""
    error = error_of(classify(answer(500, b"", headers={"x-request-id": "r\udcff"})))

    assert error.request_id == "r?"


def test_foreign_words_are_kept() -> None:
    """A body that is not JSON is kept as the message, cut."""
    error = error_of(classify(answer(500, b"<html>" + b"x" * 5000)))

    assert error.error_msg == "<html>" + "x" * 1994


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


members = st.sampled_from(
    ["release_package_id", "error_code", "error_msg", "error", "code", "message", "request_id", "errorCode"]
)


bodies = st.binary(max_size=200) | st.dictionaries(members, json_values).map(orjson.dumps)


header_names = st.sampled_from(["retry-after", "date", "x-request-id"])


@given(
    status=st.integers(100, 999),
    body=bodies,
    headers=st.dictionaries(header_names, st.text(max_size=60)),
    is_truncated=st.booleans(),
    is_token_auth=st.booleans(),
)
def test_no_answer_breaks_the_classification(
    status: int, body: bytes, headers: dict[str, str], *, is_truncated: bool, is_token_auth: bool
) -> None:
    """Whatever comes, there is an outcome, its words are storable, and only a whole 2xx is a release."""
    came = Answer(status=status, headers=headers, body=body, is_truncated=is_truncated, received_at=NOW)

    outcome = classify(came, is_token_auth=is_token_auth)

    assert not isinstance(outcome, Released) or (200 <= status < 300 and not is_truncated)
    assert all(is_storable(text) for text in texts_of(outcome))


def error_of(outcome: Outcome) -> VendorError:
    assert not isinstance(outcome, Released)
    return outcome.error


def texts_of(outcome: Outcome) -> list[str]:
    if isinstance(outcome, Released):
        return [outcome.release_package_id, outcome.request_id or ""]
    error = outcome.error
    return [error.error_code or "", error.error_msg or "", error.request_id or ""]


def is_storable(text: str) -> bool:
    text.encode()
    return "\x00" not in text and len(text) <= 2000
