"""What looks at the vendor's lists prove, and what they lead to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.reconciling import (
    Absent,
    Fail,
    Found,
    GiveUp,
    ListedPackage,
    Look,
    LookAgain,
    ReconcilePolicy,
    Reject,
    Release,
    Resend,
    Sought,
    Standing,
    Unclear,
    Unreadable,
    common_part,
    decide,
    judge_look,
    with_look,
)

SOUGHT = Sought(package_name="n", apply_user_id="u", pending_item_ids=frozenset({"1", "2"}))
POLICY = ReconcilePolicy(
    recheck=timedelta(seconds=3),
    patience=timedelta(seconds=15),
    budget=timedelta(seconds=60),
    is_resent=True,
)
FREE = {"1": False, "2": False, "3": True}
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def package(package_id: str, *items: str, applicant: str = "u") -> ListedPackage:
    return ListedPackage(package_id=package_id, apply_user_id=applicant, pending_item_ids=frozenset(items))


def test_the_same_name_items_and_applicant_are_found() -> None:
    """One package that is the same in all three is the one that was made, whatever else has the name."""
    named = [package("7", "1"), package("8", "1", "2"), package("9", "1", "2", applicant="somebody")]

    assert judge_look(SOUGHT, named=named, is_packaged={}, is_complete=False) == Found(release_package_id="8")


def test_no_package_and_free_items_are_absent() -> None:
    """Absence needs whole lists without the name, and every item listed as not packaged."""
    assert judge_look(SOUGHT, named=[], is_packaged=FREE, is_complete=True) == Absent()


@pytest.mark.parametrize(
    ("named", "is_packaged", "is_complete", "words"),
    [
        ([package("7", "1")], FREE, True, "package 7 has this name, but other items"),
        ([package("7", "1", "2", applicant="x")], FREE, True, "or another applicant"),
        ([package("7", "1", "2"), package("8", "1", "2")], FREE, True, "this package 2 times: 7, 8"),
        ([], {"1": False, "2": True}, True, "item 2 is packaged"),
        ([], {"1": False}, True, "item 2 is no longer listed"),
        ([], {}, True, "items 1, 2 are no longer listed"),
        ([], FREE, False, "list of packages changed while it was read"),
    ],
)
def test_anything_else_is_unclear(
    named: list[ListedPackage], is_packaged: dict[str, bool], is_complete: bool, words: str
) -> None:
    """A decoy, a double, a packed or missing item, or a list in motion proves nothing, and says why."""
    look = judge_look(SOUGHT, named=named, is_packaged=is_packaged, is_complete=is_complete)

    assert isinstance(look, Unclear)
    assert words in look.reason


def standing(
    *, absent: int | None = None, doubt: int = 4, attempts: bool = True, refused: bool = False
) -> Standing:
    return Standing(
        absent_for=None if absent is None else timedelta(seconds=absent),
        in_doubt_for=timedelta(seconds=doubt),
        has_attempts_left=attempts,
        was_refused=refused,
    )


AGAIN = LookAgain(delay=timedelta(seconds=3))


@pytest.mark.parametrize(
    ("look", "at", "decision"),
    [
        (Found(release_package_id="7"), standing(), Release(release_package_id="7")),
        (
            Found(release_package_id="7"),
            standing(absent=9, doubt=99, attempts=False),
            Release(release_package_id="7"),
        ),
        (Absent(), standing(doubt=99), AGAIN),
        (Absent(), standing(absent=2), AGAIN),
        (Absent(), standing(absent=3), Resend()),
        (Absent(), standing(absent=14, attempts=False), AGAIN),
        (Absent(), standing(absent=15, attempts=False), Fail()),
        (Absent(), standing(absent=14, doubt=99, refused=True), AGAIN),
        (Absent(), standing(absent=15, refused=True), Reject()),
        (Unclear(reason="why"), standing(absent=9, doubt=59), AGAIN),
        (Unclear(reason="why"), standing(absent=9, doubt=60), GiveUp(reason="why")),
        (Unreadable(reason="why"), standing(absent=9, doubt=59), AGAIN),
        (Unreadable(reason="why"), standing(doubt=60), GiveUp(reason="why")),
    ],
)
def test_what_a_look_leads_to(look: Look, at: Standing, decision: object) -> None:
    """Found ends a doubt at once; absence seen twice sends again, seen for long ends; doubt ends with the budget."""
    assert decide(look, at, policy=POLICY) == decision


def test_the_policy_park_never_resends() -> None:
    """With park, proved absence is for an operator."""
    park = replace(POLICY, is_resent=False)
    decided = decide(Absent(), standing(absent=9), policy=park)

    assert isinstance(decided, GiveUp)
    assert "RELEASE_IN_DOUBT=park" in decided.reason


LOOKS = st.lists(
    st.sampled_from([Absent(), Unclear(reason="why"), Unreadable(reason="why")]), min_size=1, max_size=30
)


@given(looks=LOOKS)
def test_absence_counts_from_the_first_of_an_unbroken_row(looks: list[Look]) -> None:
    """A look that saw something else starts the row anew; one that could not be made does not."""
    evidence: dict[str, Any] = {}
    since: datetime | None = None
    for number, look in enumerate(looks):
        now = NOW + timedelta(seconds=number)
        evidence = with_look(evidence, look, now=now)
        if isinstance(look, Absent):
            since = since or now
        elif isinstance(look, Unclear):
            since = None

    assert evidence["absent_since"] == (since.isoformat() if since else None)
    assert len(list(evidence["looks"])) == min(len(looks), 20)


@given(names=st.lists(st.text(alphabet="ab-", max_size=8), min_size=1, max_size=5))
def test_the_common_part_finds_every_name(names: list[str]) -> None:
    """Every name begins with it, and no longer text has that property."""
    part = common_part(names)

    assert all(name.startswith(part) for name in names)
    assert len({name[: len(part) + 1] for name in names}) > 1 or part in names
