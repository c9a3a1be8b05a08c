"""Ids and API keys."""

import re
from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.api_key import digest_of, new_api_key
from service.core.ids import new_id

moments = st.integers(0, 2**48 - 1)


@given(now_ms=moments)
def test_an_id_has_the_layout_of_rfc_9562(now_ms: int) -> None:
    """Version 7, the RFC's variant, and 48 bits of milliseconds in front."""
    made = new_id(now_ms=now_ms)

    assert (7, RFC_4122, now_ms) == (made.version, made.variant, made.int >> 80)


@given(one=moments, other=moments)
def test_ids_sort_by_time(one: int, other: int) -> None:
    """Of two ids, as values or as text, the later one is the greater."""
    first, second = new_id(now_ms=one), new_id(now_ms=other)

    if one != other:
        assert (one < other) == (first < second)
        assert (one < other) == (str(first) < str(second))


def test_ids_of_one_moment_differ() -> None:
    """74 random bits keep apart what is made in the same millisecond."""
    assert len({new_id(now_ms=0) for _ in range(10_000)}) == 10_000


def test_all_random_bits_are_used() -> None:
    """Each bit that is neither time, version nor variant is both 0 and 1 among a thousand ids."""
    ones = zeros = 0
    for _ in range(1_000):
        value = new_id(now_ms=0).int
        ones |= value
        zeros |= ~value
    random_bits = (0xFFF << 64) | ((1 << 62) - 1)

    assert random_bits == ones & zeros & ((1 << 80) - 1)


def test_an_api_key_is_long_random_text() -> None:
    """Keys have the form that the door looks for, and no two are alike."""
    keys = [new_api_key() for _ in range(1_000)]

    assert all(re.fullmatch(r"rel_[A-Za-z0-9_-]{43}", key) for key in keys)
    assert len(set(keys)) == 1_000


@pytest.mark.parametrize("shown", ["", "rel_x", "密钥", "\udcff"])
def test_whatever_is_shown_as_a_key_has_a_digest(shown: str) -> None:
    """A header of any bytes is looked up, not stumbled over."""
    assert len(digest_of(shown)) == 32
