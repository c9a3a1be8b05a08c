"""Page tokens: good for the list that gave them, and nothing else is taken for one."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.page_token import decode_page_token, encode_page_token

FILTERS = {"state": "failed", "item": None}


@given(position=st.lists(st.text(max_size=40), max_size=3))
def test_a_token_gives_the_position_back(position: list[str]) -> None:
    """What was encoded comes back, for the same filters in any order."""
    token = encode_page_token(FILTERS, *position)

    assert decode_page_token(token, {"item": None, "state": "failed"}) == tuple(position)


def test_a_token_is_not_good_for_other_filters() -> None:
    """A token of one list is none of another."""
    assert decode_page_token(encode_page_token(FILTERS, "a"), {**FILTERS, "item": "26"}) is None


@given(token=st.text(max_size=60))
def test_anything_else_is_no_token(token: str) -> None:
    """Text that we did not write is refused, whatever it is."""
    assert decode_page_token(token, FILTERS) is None


def test_a_token_may_not_be_longer_than_ours_are() -> None:
    """A long one is not even decoded."""
    assert decode_page_token(encode_page_token(FILTERS, "x" * 600), FILTERS) is None
