"""The comparison of Postgres with the vendor's ledger finds every kind of difference."""

import pytest

from service.commands.comparison import find_differences, packages_by_item
from service.core.model import ItemState
from service.gateways.store.summary import HeldItem


def held(item: str, state: ItemState, package: str | None = None) -> HeldItem:
    return HeldItem(workspace="ws", pending_item_id=item, state=state, release_package_id=package)


def package(package_id: str, *items: str) -> dict[str, object]:
    return {"workspace": "ws", "package_id": package_id, "items": list(items)}


CLEAN_ITEMS = [
    held("1", ItemState.RELEASED, "p1"),
    held("2", ItemState.RELEASED, "p1"),
    held("3", ItemState.REJECTED),
    held("4", ItemState.IN_DOUBT),
    held("5", ItemState.IN_DOUBT),
]
CLEAN_PACKAGES = [package("p1", "1", "2"), package("p2", "4")]


def test_two_sides_that_agree_have_no_difference() -> None:
    """Released items are in their package, others in none, and items in doubt may be either way."""
    assert list(find_differences(CLEAN_ITEMS, packages_by_item(CLEAN_PACKAGES))) == []


@pytest.mark.parametrize(
    ("items", "packages", "words"),
    [
        (CLEAN_ITEMS, [*CLEAN_PACKAGES, package("p3", "1")], "item ws/1 is in 2 packages"),
        (CLEAN_ITEMS, [package("p1", "2"), package("p2", "4")], "item ws/1 is released in package p1"),
        (CLEAN_ITEMS, [package("p9", "1"), package("p1", "2")], "the vendor has it in ['p9']"),
        (CLEAN_ITEMS, [*CLEAN_PACKAGES, package("p3", "3")], "item ws/3 is rejected; the vendor has it"),
        (CLEAN_ITEMS, [*CLEAN_PACKAGES, package("p3", "9")], "nobody asked for it"),
        (
            [*CLEAN_ITEMS, held("6", ItemState.WAITING)],
            [*CLEAN_PACKAGES, package("p3", "6")],
            "ws/6 is waiting",
        ),
    ],
)
def test_a_difference_is_named(items: list[HeldItem], packages: list[dict[str, object]], words: str) -> None:
    """An item twice, missing, elsewhere, there in spite of a no, or unknown is one sentence each."""
    differences = list(find_differences(items, packages_by_item(packages)))

    assert any(words in difference for difference in differences), differences


def test_an_item_that_was_released_at_the_second_try_counts_as_released() -> None:
    """Of two rows of one item, the earlier one rejected, the released one is compared."""
    items = [held("1", ItemState.REJECTED), held("1", ItemState.RELEASED, "p1")]

    assert list(find_differences(items, packages_by_item([package("p1", "1")]))) == []
