"""What the audit proves, and what it found. Pure: the rows come from the store, the packages from the vendor."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from service.core.config import Settings
from service.core.ids import is_older_than

#: Of each rule so many rows are named; all are counted.
MOST_NAMED = 100
#: Longer than any Retry-After that is obeyed, and than any pause of a breaker.
_LONGEST_PAUSE = timedelta(days=1)
#: The retention of a database from which nothing is pruned.
NOTHING_PRUNED = timedelta(0)
#: Names that nobody but this service gives.
_NAME_OF_OURS = re.compile(r"release-.*-([0-9a-f]{32})")


class Rule(StrEnum):
    """The rules of the audit."""

    A1 = "A1"
    A2 = "A2"
    A3 = "A3"
    A4 = "A4"
    A5 = "A5"
    A6 = "A6"
    A7 = "A7"


PROMISES: Mapping[Rule, str] = {
    Rule.A1: "every accepted request is done or has a live reason to wait",
    Rule.A2: "every live row has something that will wake it",
    Rule.A3: "no pending item is in two released batches",
    Rule.A4: "every released item has one package id and its attempt's evidence",
    Rule.A5: "no attempt is without an outcome, and no batch in doubt, for longer than it may be",
    Rule.A6: "the states of requests agree with their events and their items",
    Rule.A7: "the vendor has each released package with the same items, and none of ours that is not known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A row that breaks a rule."""

    rule: Rule
    #: What the row is, and its id: ``request 01a2…``.
    row: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport:
    """What a rule found: how many rows, and the first of them."""

    rule: Rule
    count: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit found."""

    at: datetime
    rules: tuple[RuleReport, ...]

    @property
    def violations(self) -> int:
        """How many rows are wrong."""
        return sum(report.count for report in self.rules)

    @property
    def is_clean(self) -> bool:
        """Whether every rule holds."""
        return self.violations == 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The rows that are named."""
        return tuple(finding for report in self.rules for finding in report.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How far past its time a row may be before the audit calls it forgotten."""

    #: Past the moment at which something should have been looked at.
    overdue: timedelta
    #: From now to the end of a pause: no worker gives a longer one.
    pause: timedelta
    #: Since an attempt without an outcome was started.
    attempt: timedelta
    #: Since a doubt began.
    doubt: timedelta
    #: What ended longer ago may be pruned; 0 where nothing is.
    kept_for: timedelta

    @classmethod
    def of(cls, settings: Settings) -> "Patience":
        """Return the patience that fits the times of the workers.

        Something that is due is looked at after a full window, may then wait behind one call, and is rung for by one
        of the next sweeps. An attempt gets its outcome when its lease ends at the latest; a doubt ends with its budget.
        """
        overdue = settings.batch_linger + settings.lease + settings.call_timeout + 10 * settings.sweep_period
        return cls(
            overdue=overdue,
            pause=max(_LONGEST_PAUSE, settings.backoff_cap, settings.call_timeout + settings.settle)
            + overdue,
            attempt=settings.lease + overdue,
            doubt=settings.call_timeout + settings.settle + settings.reconcile_budget + overdue,
            kept_for=settings.retention,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OurPackage:
    """A batch and what its package should be."""

    batch_id: str
    state: str
    is_live: bool
    package_name: str
    apply_user_id: str
    release_package_id: str | None
    pending_item_ids: frozenset[str]
    #: Whether an operator named the package: then it may have been made by hand, under another name, with more items.
    is_by_operator: bool = False

    def is_whole_released(self, kept_for: timedelta) -> bool:
        """Tell whether it was released, and so lately that none of its items may be pruned."""
        return self.state == "released" and not (kept_for and is_older_than(kept_for, UUID(self.batch_id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirPackage:
    """A package as the vendor lists it."""

    package_id: str
    package_name: str
    apply_user_id: str | None
    #: None where they were not asked for: the package is unknown, or somebody has revoked it.
    pending_item_ids: frozenset[str] | None


def compare_packages(
    released: Sequence[OurPackage],
    known: Sequence[OurPackage],
    theirs: Sequence[TheirPackage],
    *,
    kept_for: timedelta,
) -> Iterable[Finding]:
    """Hold the packages of a workspace against each other.

    ``released`` was read before the vendor's list, ``known`` (every batch) after it: what changed in between is no
    difference. Neither is a package of a batch that may have been pruned, older than ``kept_for``; 0 prunes nothing.
    """
    listed = {package.package_id: package for package in theirs}
    for ours in released:
        yield from _difference_of(ours, listed.get(ours.release_package_id or ""))
    ids = {ours.release_package_id for ours in (*released, *known)}
    by_name: dict[str, list[OurPackage]] = {}
    for ours in known:
        by_name.setdefault(ours.package_name, []).append(ours)
    for package in theirs:
        if package.package_id not in ids:
            yield from _stranger(package, by_name.get(package.package_name, []), kept_for)


def _difference_of(ours: OurPackage, theirs: TheirPackage | None) -> Iterable[Finding]:
    if theirs is None:
        yield _finding(ours, f"released as package {ours.release_package_id}, which the vendor does not list")
        return
    if theirs.package_name != ours.package_name and not ours.is_by_operator:
        yield _finding(ours, f"package {theirs.package_id} is named {theirs.package_name!r} at the vendor")
    if theirs.apply_user_id not in {None, ours.apply_user_id} and not ours.is_by_operator:
        yield _finding(ours, f"package {theirs.package_id} is by {theirs.apply_user_id!r} at the vendor")
    if differing := _differing_items(ours, theirs.pending_item_ids):
        named = ", ".join(sorted(differing)[:3])
        yield _finding(ours, f"package {theirs.package_id} has other items at the vendor: {named}")


def _differing_items(ours: OurPackage, theirs: frozenset[str] | None) -> frozenset[str]:
    if theirs is None:
        return frozenset()
    return ours.pending_item_ids - theirs if ours.is_by_operator else ours.pending_item_ids ^ theirs


def _finding(ours: OurPackage, detail: str) -> Finding:
    return Finding(rule=Rule.A7, row=f"batch {ours.batch_id}", detail=detail)


def _stranger(
    package: TheirPackage, namesakes: Sequence[OurPackage], kept_for: timedelta
) -> Iterable[Finding]:
    """Judge a package whose id is not known: it may be of a call under way, somebody else's, or one too many."""
    name = _NAME_OF_OURS.fullmatch(package.package_name)
    is_ours = name is not None and not (kept_for and is_older_than(kept_for, UUID(name[1])))
    same = [ours for ours in namesakes if is_ours or ours.apply_user_id == package.apply_user_id]
    if any(ours.is_live for ours in same):
        return
    if same:
        detail = f"has the name of batch {same[0].batch_id}, which is {same[0].state}"
    elif is_ours:
        detail = "has a name of ours, but no batch has it"
    else:
        return
    row = f"package {package.package_id}"
    yield Finding(rule=Rule.A7, row=row, detail=f"{detail}: {package.package_name}")
