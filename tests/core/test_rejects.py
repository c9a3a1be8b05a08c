"""What is kept of an entry of the queue, and how it is shown."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.rejects import digest_of_entry, kept_problem, shown_id, shown_payload


@given(st.binary(max_size=300))
def test_an_id_of_any_bytes_is_a_short_line(job_id: bytes) -> None:
    """What cannot be printed is escaped, and what is long is cut; the column takes it."""
    text = shown_id(job_id)

    assert text.isprintable()
    assert len(text) <= 1_000


@given(st.binary(max_size=50))
def test_a_payload_can_be_read_back(payload: bytes) -> None:
    """Text as text, up to a last character that was cut; anything else in base64."""
    shown, encoding = shown_payload(payload)
    if encoding == "base64":
        assert base64.b64decode(shown) == payload
    else:
        assert payload.startswith(shown.encode())
        assert len(payload) - len(shown.encode()) < 4


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"a": 1}', ('{"a": 1}', "text")),
        ("aü".encode()[:-1], ("a", "text")),
        (b"\x80\x04", (base64.b64encode(b"\x80\x04").decode(), "base64")),
        (b"", ("", "text")),
    ],
)
def test_text_is_shown_as_text(payload: bytes, expected: tuple[str, str]) -> None:
    """A pickle is none, nor are other bytes."""
    assert shown_payload(payload) == expected


@given(st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3), st.binary(max_size=3)), max_size=5))
def test_different_entries_have_different_digests(entries: list[tuple[str, bytes, bytes]]) -> None:
    """Where one part ends and the next begins makes a difference."""
    assert len({digest_of_entry(*entry) for entry in entries}) == len(set(entries))


def test_of_many_errors_the_first_are_kept() -> None:
    """A thousand bad items fill no page."""
    problem = {"code": "invalid-request", "errors": [{"pointer": f"/{number}"} for number in range(1_000)]}
    kept = kept_problem(problem)

    assert [error["pointer"] for error in kept["errors"]] == [f"/{number}" for number in range(20)]
    assert len(problem["errors"]) == 1_000
