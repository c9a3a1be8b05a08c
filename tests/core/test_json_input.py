"""What is read as JSON, and what is refused, in which words."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.core.json_input import MAX_DEPTH, Malformed, read_json

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=20,
)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@given(value=values, indent=st.none() | st.integers(0, 3), is_ascii=st.booleans())
def test_any_good_value_is_read_as_it_is(value: object, indent: int | None, is_ascii: bool) -> None:
    """However a value is written down, the same value is read."""
    raw = json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode()

    assert value == read_json(raw)


@given(raw=st.binary() | values.map(lambda value: json.dumps(value).encode()[:-1]))
@example(raw=b"\xef\xbb\xbf{}")
@example(raw=b"[" * 1_000_000)
@example(raw=b'{"a":' * 100_000)
@example(raw=b"9" * 100_000)
@example(raw=b"")
def test_no_bytes_whatever_raise(raw: bytes) -> None:
    """Anything that is not read has a sentence that says why."""
    read = read_json(raw)

    if isinstance(read, Malformed):
        assert read.detail.startswith("Expected ")
        assert read.detail.endswith(".")
        assert read.detail.isprintable()


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b'{"a":1,"b":2,"a":1}', 'Expected each member once; "a" is there twice.'),
        (b'[{"x":{"a":1,"a":1}}]', 'Expected each member once; "a" is there twice.'),
        (b'{"a":1,"\\u0061":2}', 'Expected each member once; "a" is there twice.'),
        (b"[NaN]", "Expected a JSON number; NaN is none."),
        (b"[Infinity]", "Expected a JSON number; Infinity is none."),
        (b"[-Infinity]", "Expected a JSON number; -Infinity is none."),
        (b"[1e999]", 'Expected numbers below 1.8e308; "1e999" is none.'),
        (b"[-1.5e400]", 'Expected numbers below 1.8e308; "-1.5e400" is none.'),
        (b'["a\\u0000b"]', "Expected text without NUL; a string holds \\u0000."),
        (b'{"a\\u0000":1}', "Expected text without NUL; a string holds \\u0000."),
        (b'["\\ud800"]', "Expected whole Unicode characters; a string holds a lone surrogate."),
        (b'["\\uDFFF\\uD800"]', "Expected whole Unicode characters; a string holds a lone surrogate."),
        (b'{"\\uDC00":{}}', "Expected whole Unicode characters; a string holds a lone surrogate."),
        (b'["\xff"]', "Expected UTF-8 text; byte 2 is not."),
        (b'["\xed\xa0\x80"]', "Expected UTF-8 text; byte 2 is not."),
        (nested(MAX_DEPTH + 1), "Expected at most 32 levels of nesting; found more."),
        (nested(200_000), "Expected at most 32 levels of nesting; found far more."),
        (b"1" * 5_000, "Expected numbers of at most some thousand digits; one is longer."),
        (b"", "Expected JSON; Expecting value at line 1, column 1."),
        (b'{"a":1}x', "Expected JSON; Extra data at line 1, column 8."),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, bytes) else "",
)
def test_what_is_refused_is_told_why(raw: bytes, detail: str) -> None:
    """Each rule on JSON has its own sentence."""
    assert Malformed(detail=detail) == read_json(raw)


def test_a_raw_nul_in_a_string_is_refused() -> None:
    """A control character that is not escaped is no JSON."""
    assert isinstance(read_json(b'["\x00"]'), Malformed)


@pytest.mark.parametrize(
    "raw",
    [
        nested(MAX_DEPTH),
        b'["\\ud83c\\udf89"]',
        b'["\\\\u0000"]',
        b'["\\\\ud800"]',
        b"[12345678901234567890123]",
        b"[1e308]",
        b'{"a":{"a":1},"b":{"a":1}}',
    ],
    ids=repr,
)
def test_what_only_looks_forbidden_is_read(raw: bytes) -> None:
    """Pairs of surrogates, escaped backslashes, the last level and the same name on two levels are fine."""
    assert json.loads(raw) == read_json(raw)


def many_members() -> bytes:
    return b"{" + b",".join(b'"%d":0' % number for number in range(80_000)) + b',"79999":0}'


def many_levels() -> bytes:
    return b"[" * 500_000 + b"]" * 500_000


def many_strings() -> bytes:
    return b'["\\ud83c\\udf89",' + b",".join([b'"a"'] * 240_000) + b"]"


@pytest.mark.parametrize("build", [many_members, many_levels, many_strings])
def test_a_big_body_does_not_hold_the_process_up(build: Callable[[], Any]) -> None:
    """A body of a megabyte, whatever is in it, is read or refused within a second."""
    raw = build()
    started = time.process_time()
    read_json(raw)

    assert time.process_time() - started < 1.0
