"""What becomes of a batch that the vendor refused as a whole, without a word which item is at fault. Pure.

First the vendor's list of pending items is asked: it may explain the refusal. Only what it does not explain is
bisected, so that k bad items of n cost at most 2 k ceil(log2 n) calls. Source of the reasons: ``pending_item_list``
takes items that are pending and not packaged, and ``apply_user_id`` is the ``submit_user_id`` of those items (API
reference, CreateFactoryPendingItemsPackage).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedItem:
    """A pending item as the vendor lists it."""

    is_packaged: bool
    #: None where the vendor does not say.
    submit_user_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How the items of a refused batch part."""

    #: Items that the list explains, each with what is wrong with it.
    bad: Mapping[str, str]
    #: The batches that the others go on in.
    groups: tuple[tuple[str, ...], ...]


def plan_split(items: Sequence[str], *, bad: Mapping[str, str]) -> Split:
    """Part the items of a refused batch: without the bad ones where there are any, else in halves."""
    rest = tuple(item for item in items if item not in bad)
    if bad:
        return Split(bad=bad, groups=(rest,) if rest else ())
    middle = (len(rest) + 1) // 2
    return Split(bad={}, groups=(rest[:middle], rest[middle:]))


def explain(
    items: Sequence[str],
    listed: Mapping[str, ListedItem],
    *,
    apply_user_id: str,
    may_be_ours: bool = False,
) -> dict[str, str]:
    """Say of each item what the list has against it; items it has nothing against are left out.

    A list that knows none of the items proves nothing about any of them. Another submitter explains the refusal only
    beside an item whose submitter is the applicant: else the list may speak of users in other words than we do.
    Items that ``may_be_ours`` since a call for them was in doubt are not at fault for being packaged or gone.
    """
    known = {item: listed[item] for item in items if item in listed}
    if not known:
        return {}
    is_comparable = any(item.submit_user_id == apply_user_id for item in known.values())
    applicant = apply_user_id if is_comparable else None
    suspects = [item for item in items if not (may_be_ours and _is_taken(known.get(item)))]
    faults = {item: fault_of(known.get(item), applicant) for item in suspects}
    return {item: fault for item, fault in faults.items() if fault is not None}


def _is_taken(listed: ListedItem | None) -> bool:
    return listed is None or listed.is_packaged


def fault_of(listed: ListedItem | None, apply_user_id: str | None) -> str | None:
    """Say what is wrong with an item, or None where the list has nothing against it."""
    if listed is None:
        return "it is no longer listed as pending"
    if listed.is_packaged:
        return "it is in a release package already"
    if apply_user_id is None or listed.submit_user_id in {None, apply_user_id}:
        return None
    return f"it was submitted by {listed.submit_user_id}, not by the applicant"
