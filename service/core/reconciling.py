"""Settles whether an in-doubt call made its package, from what the vendor's lists say. Pure.

Found needs the exact package name, the same items and the same applicant. Absent needs that no package has the name
and that every item is still listed as not packaged. Anything else is unclear: the lists may lag, or somebody else
has a package of that name. Source of the rule: the vendor keeps no other identity of a call than ``package_name``
(API reference, CreateFactoryPendingItemsPackage).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What the call in doubt would have made."""

    package_name: str
    apply_user_id: str
    pending_item_ids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPackage:
    """A package that has the name, with the items in it."""

    package_id: str
    apply_user_id: str | None
    pending_item_ids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The package was made."""

    release_package_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """This look saw no package, and every item still waiting for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """This look proves nothing; the reason is for an operator."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """The lists could not be read."""

    reason: str


Look = Found | Absent | Unclear | Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilePolicy:
    """How patiently doubts are settled."""

    #: Between the two looks that prove absence, and between looks that prove nothing.
    recheck: timedelta
    #: For how long absence must be seen before it ends a request: a package that is listed later would be missed.
    patience: timedelta
    #: Since the doubt began; then an operator has to decide.
    budget: timedelta
    #: Whether what is proved absent is sent again without asking.
    is_resent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a doubt stands when a look is made."""

    #: How long ago the first of an unbroken row of looks saw absence; None where there was none.
    absent_for: timedelta | None
    in_doubt_for: timedelta
    has_attempts_left: bool
    #: Whether the last call was answered with a no, after an earlier one in doubt.
    was_refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The package is there."""

    release_package_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """It is proved that there is none; the call may be made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """It is proved that there is none, and the attempts are used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """It is proved that there is none, so the vendor's last no was meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """An operator has to decide."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAgain:
    """Nothing is proved yet."""

    delay: timedelta


Decision = Release | Resend | Fail | Reject | GiveUp | LookAgain
_LOOKS_KEPT = 20


def judge_look(
    sought: Sought, *, named: Sequence[ListedPackage], is_packaged: Mapping[str, bool], is_complete: bool
) -> Look:
    """Say what one look at the lists proves.

    ``named`` are the packages of exactly the name, ``is_packaged`` the pending items that are listed, and
    ``is_complete`` whether the packages were read to their end.
    """
    same = [package for package in named if _is_same(package, sought)]
    if len(same) == 1:
        return Found(release_package_id=same[0].package_id)
    if len(same) > 1:
        ids = ", ".join(package.package_id for package in same)
        return Unclear(reason=f"the vendor has this package {len(same)} times: {ids}")
    if named:
        ids = ", ".join(package.package_id for package in named)
        return Unclear(reason=f"package {ids} has this name, but other items or another applicant")
    return _judge_items(sought, is_packaged, is_complete=is_complete)


def _is_same(package: ListedPackage, sought: Sought) -> bool:
    return (package.apply_user_id, package.pending_item_ids) == (
        sought.apply_user_id,
        sought.pending_item_ids,
    )


def _judge_items(sought: Sought, is_packaged: Mapping[str, bool], *, is_complete: bool) -> Look:
    packaged = sorted(item for item in sought.pending_item_ids if is_packaged.get(item))
    gone = sorted(item for item in sought.pending_item_ids if item not in is_packaged)
    if packaged:
        return Unclear(reason=f"no package has this name, but {_some(packaged)} packaged")
    if gone:
        return Unclear(reason=f"no package has this name, but {_some(gone)} no longer listed as pending")
    if not is_complete:
        return Unclear(reason="the vendor's list of packages changed while it was read")
    return Absent()


def _some(items: Sequence[str]) -> str:
    shown = ", ".join(items[:3]) + (", …" if len(items) > 3 else "")  # noqa: PLR2004 - enough to go on with
    return f"item {shown} is" if len(items) == 1 else f"items {shown} are"


def with_look(evidence: Mapping[str, Any], look: Look, *, now: datetime) -> dict[str, Any]:
    """Add a look to what is kept on the attempt: the last ones, and since when absence has been seen in a row."""
    looks = [*evidence.get("looks", ()), {"at": now.isoformat(), **_words(look)}][-_LOOKS_KEPT:]
    absent_since = evidence.get("absent_since")
    match look:
        case Absent():
            absent_since = absent_since or now.isoformat()
        case Unclear() | Found():
            absent_since = None
        case Unreadable():
            pass  # says nothing against what earlier looks saw
        case _:
            assert_never(look)
    return {"looks": looks, "absent_since": absent_since}


def _words(look: Look) -> dict[str, str]:
    match look:
        case Found(release_package_id=package_id):
            return {"saw": "found", "release_package_id": package_id}
        case Absent():
            return {"saw": "absent"}
        case Unclear(reason=reason):
            return {"saw": "unclear", "reason": reason}
        case Unreadable(reason=reason):
            return {"saw": "unreadable", "reason": reason}
        case _:
            assert_never(look)


def decide(look: Look, standing: Standing, *, policy: ReconcilePolicy) -> Decision:
    """Say what a look leads to."""
    match look:
        case Found(release_package_id=package_id):
            return Release(release_package_id=package_id)
        case Absent():
            return _after_absence(standing, policy)
        case Unclear(reason=reason) | Unreadable(reason=reason):
            is_over = standing.in_doubt_for >= policy.budget
            return GiveUp(reason=reason) if is_over else LookAgain(delay=policy.recheck)
        case _:
            assert_never(look)


def _after_absence(standing: Standing, policy: ReconcilePolicy) -> Decision:
    decision = _once_absent(standing, policy)
    match decision:
        case Reject() | Fail():
            needed = max(policy.recheck, policy.patience)
        case Resend() | GiveUp():
            needed = policy.recheck
        case _:
            assert_never(decision)
    if standing.absent_for is None or standing.absent_for < needed:
        return LookAgain(delay=policy.recheck)
    return decision


def _once_absent(standing: Standing, policy: ReconcilePolicy) -> Resend | Fail | Reject | GiveUp:
    if standing.was_refused:
        return Reject()
    if not policy.is_resent:
        return GiveUp(
            reason="the vendor has no such package; RELEASE_IN_DOUBT=park leaves the rest to an operator"
        )
    return Resend() if standing.has_attempts_left else Fail()


def common_part(names: Sequence[str]) -> str:
    """Return what all names begin with: one search finds the packages of all of them."""
    shortest, *others = sorted(names, key=len)
    length = next(
        (at for at, letter in enumerate(shortest) if any(name[at] != letter for name in others)),
        len(shortest),
    )
    return shortest[:length]
