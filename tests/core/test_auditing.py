"""How the vendor's packages are held against ours."""

from dataclasses import replace
from datetime import timedelta

import pytest

from service.core.auditing import OurPackage, Patience, TheirPackage, compare_packages
from service.core.config import Settings
from service.core.ids import new_id

KEPT_FOR = timedelta(days=30)
NAME = "release-ws-0123456789abcdef0123456789abcdef"


def ours(
    state: str = "released", *, name: str = NAME, package_id: str | None = "p1", batch_id: str = "b1"
) -> OurPackage:
    return OurPackage(
        batch_id=batch_id,
        state=state,
        is_live=state in {"sealed", "sending", "in_doubt", "needs_attention"},
        package_name=name,
        apply_user_id="applicant",
        release_package_id=package_id if state == "released" else None,
        pending_item_ids=frozenset({"1", "2"}),
    )


def theirs(
    package_id: str = "p1", *, name: str = NAME, items: str | None = "12", applicant: str = "applicant"
) -> TheirPackage:
    return TheirPackage(
        package_id=package_id,
        package_name=name,
        apply_user_id=applicant,
        pending_item_ids=None if items is None else frozenset(items),
    )


def differences(batches: list[OurPackage], listed: list[TheirPackage]) -> list[str]:
    released = [batch for batch in batches if batch.state == "released"]
    findings = compare_packages(released, batches, listed, kept_for=KEPT_FOR)
    return [f"{finding.row} {finding.detail}" for finding in findings]


@pytest.mark.parametrize(
    ("batches", "listed"),
    [
        ([ours()], [theirs()]),
        ([ours()], [theirs(items=None)]),
        ([ours()], [theirs(), theirs("p2", name="of-a-person", applicant="person")]),
        ([ours("in_doubt")], [theirs("p2")]),
        ([ours("sending")], [theirs("p2")]),
        ([ours("needs_attention")], [theirs("p2")]),
        ([ours("failed", name="spring")], [theirs("p2", name="spring", applicant="person")]),
        ([ours(name="spring"), ours("failed", name="spring", batch_id="b2")], [theirs(name="spring")]),
    ],
    ids=[
        "the same",
        "revoked",
        "of a person",
        "in doubt",
        "sending",
        "needs attention",
        "a chosen name of another",
        "a chosen name, failed before",
    ],
)
def test_what_may_be_is_no_difference(batches: list[OurPackage], listed: list[TheirPackage]) -> None:
    """The same package, a call under way, and what persons have made themselves."""
    assert differences(batches, listed) == []


@pytest.mark.parametrize(
    ("batches", "listed", "words"),
    [
        ([ours()], [], "batch b1 released as package p1, which the vendor does not list"),
        ([ours()], [theirs(items="13")], "batch b1 package p1 has other items at the vendor: 2, 3"),
        ([ours()], [theirs(name="renamed")], "batch b1 package p1 is named 'renamed' at the vendor"),
        ([ours()], [theirs(applicant="person")], "batch b1 package p1 is by 'person' at the vendor"),
        (
            [ours()],
            [theirs(), theirs("p2")],
            f"package p2 has the name of batch b1, which is released: {NAME}",
        ),
        ([ours("failed")], [theirs("p2")], f"package p2 has the name of batch b1, which is failed: {NAME}"),
        ([ours("split")], [theirs("p2")], f"package p2 has the name of batch b1, which is split: {NAME}"),
        ([], [theirs("p2")], f"package p2 has a name of ours, but no batch has it: {NAME}"),
        (
            [ours("rejected", name="spring")],
            [theirs("p2", name="spring")],
            "package p2 has the name of batch b1, which is rejected: spring",
        ),
    ],
)
def test_a_difference_is_named(batches: list[OurPackage], listed: list[TheirPackage], words: str) -> None:
    """A package that is missing, other than ours, there twice, or there in spite of a no."""
    assert differences(batches, listed) == [words]


def test_a_package_that_an_operator_has_named_may_be_another_than_planned() -> None:
    """Made by hand, it has another name and applicant and more items, but all of the batch's, and it is listed."""
    named = replace(ours(), is_by_operator=True)
    by_hand = theirs(name="by-hand", items="123", applicant="person")
    without = theirs(name="by-hand", items="13")

    assert differences([named], [by_hand]) == []
    assert differences([named], [without]) == ["batch b1 package p1 has other items at the vendor: 2"]
    assert differences([named], []) == ["batch b1 released as package p1, which the vendor does not list"]


def test_a_batch_that_was_released_meanwhile_is_no_difference() -> None:
    """What was released after the vendor's list was read need not be in it."""
    assert list(compare_packages([], [ours()], [], kept_for=KEPT_FOR)) == []


def test_patience_covers_every_wait_that_is_allowed() -> None:
    """Nothing that the workers do in time by their settings is called late."""
    settings = Settings()
    patience = Patience.of(settings)

    assert patience.overdue > settings.batch_linger + settings.sweep_period
    assert patience.attempt > settings.lease + settings.sweep_period
    assert patience.doubt > settings.settle + settings.reconcile_budget + timedelta(seconds=10)


def test_a_package_of_a_batch_that_may_be_pruned_is_no_stranger() -> None:
    """Its name has the id of its batch, and that tells its age; without a retention nothing is pruned."""
    old = new_id(now_ms=1_600_000_000_000)
    listed = [theirs(name=f"release-ws-{old.hex}")]

    assert list(compare_packages([], [], listed, kept_for=KEPT_FOR)) == []
    assert len(list(compare_packages([], [], listed, kept_for=timedelta(0)))) == 1
    assert replace(ours(), batch_id=str(new_id())).is_whole_released(KEPT_FOR)
    assert not replace(ours(), batch_id=str(old)).is_whole_released(KEPT_FOR)
