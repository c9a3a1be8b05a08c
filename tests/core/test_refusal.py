"""How the items of a refused batch part: what the list explains goes out, the rest is halved."""

from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.refusal import ListedItem, explain, plan_split

ITEMS = ("1", "2", "3")
OURS = ListedItem(is_packaged=False, submit_user_id="applicant")
sizes = st.integers(2, 100)


def explained(listed: dict[str, ListedItem]) -> dict[str, str]:
    return explain(ITEMS, listed, apply_user_id="applicant")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (None, "no longer listed"),
        (ListedItem(is_packaged=True, submit_user_id="applicant"), "in a release package"),
        (ListedItem(is_packaged=False, submit_user_id="somebody"), "submitted by somebody"),
    ],
)
def test_the_list_explains_items_that_cannot_be_packaged(second: ListedItem | None, words: str) -> None:
    """Gone, packaged by somebody, or submitted by another than the applicant; the others have nothing against them."""
    listed = {"1": OURS, "3": OURS} | ({} if second is None else {"2": second})
    found = explained(listed)

    assert list(found) == ["2"]
    assert words in found["2"]


def test_an_item_that_may_be_in_a_package_of_ours_is_not_at_fault_for_that() -> None:
    """After a call in doubt, packaged or gone explains nothing; another submitter still does."""
    listed = {
        "1": OURS,
        "2": ListedItem(is_packaged=True, submit_user_id="applicant"),
        "4": ListedItem(is_packaged=False, submit_user_id="somebody"),
    }
    found = explain(("1", "2", "3", "4"), listed, apply_user_id="applicant", may_be_ours=True)

    assert list(found) == ["4"]


def test_a_list_without_any_of_the_items_proves_nothing() -> None:
    """A vendor whose list is empty, or of other items, says nothing against ours."""
    assert explained({}) == {}
    assert explained({"9": OURS}) == {}


def test_a_list_that_never_names_the_applicant_says_nothing_of_submitters() -> None:
    """Where all are of other submitters, the list may call users otherwise than requests do."""
    other = ListedItem(is_packaged=False, submit_user_id="somebody")

    assert explained(dict.fromkeys(ITEMS, other)) == {}


def test_an_item_without_a_submitter_is_nobodys_fault() -> None:
    """The vendor may leave the submitter out."""
    assert explained({"1": OURS, "2": ListedItem(is_packaged=False, submit_user_id=None), "3": OURS}) == {}


def test_what_is_explained_goes_out_and_the_rest_stays_together() -> None:
    """One more call is made for the rest; where nothing is left, none."""
    assert plan_split(ITEMS, bad={"2": "gone"}).groups == (("1", "3"),)
    assert plan_split(ITEMS, bad=dict.fromkeys(ITEMS, "gone")).groups == ()


@given(size=sizes, data=st.data())
def test_halving_finds_exactly_the_bad_items_within_the_bound(size: int, data: st.DataObject) -> None:
    """With k bad items of n: all others released, and at most 2 k ceil(log2 n) calls beside the first."""
    items = tuple(str(number) for number in range(size))
    bad = data.draw(st.sets(st.sampled_from(items), min_size=1))
    released: set[str] = set()
    rejected: set[str] = set()
    groups = [items]
    calls = 0
    while groups:
        group = groups.pop()
        calls += 1
        if not bad.intersection(group):
            released.update(group)
        elif len(group) == 1:
            rejected.update(group)
        else:
            groups.extend(plan_split(group, bad={}).groups)

    assert rejected == bad
    assert released == set(items) - bad
    assert calls - 1 <= 2 * len(bad) * ceil(log2(size))
