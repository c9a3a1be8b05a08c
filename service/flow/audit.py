"""Proves on the data that nothing is lost or doubled, or names the rows that say otherwise.

Takes: one moment of Postgres; with the vendor, its lists too.
Leaves: a report, and a line in the log where it is not clean. Nothing is changed.
If it dies here: nothing was changed; the next audit looks again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from service.core.auditing import (
    MOST_NAMED,
    AuditReport,
    Finding,
    OurPackage,
    Patience,
    Rule,
    RuleReport,
    TheirPackage,
    compare_packages,
)
from service.core.errors import DatabaseUnavailable, Unavailable
from service.core.reconciling import Unreadable
from service.core.telemetry import LogEvent
from service.deps import WorkerDeps
from service.flow.vendor_lists import read_package, read_package_list, reader_of
from service.gateways.limits import Asking
from service.gateways.store import audit_agreement, audit_releases, audit_waiting, auditing
from service.gateways.store.database import Connection, Database
from service.gateways.vendor.lists import Listing
from service.gateways.vendor.records import ReleasePackage

#: The rules that Postgres alone can tell, in their order.
RULES: tuple[Callable[[Connection, Patience], Awaitable[RuleReport]], ...] = (
    audit_waiting.find_stranded,
    audit_waiting.find_overdue,
    audit_releases.find_doubles,
    audit_releases.find_unproven,
    audit_waiting.find_open,
    audit_agreement.find_disagreeing,
)
#: Release packages show this when somebody has revoked or deleted them.
_DELETED = 1
_NAMED_IN_LOG = 5
_READS_OF_A_LIST = 3

log = structlog.get_logger()


async def audit(database: Database, patience: Patience) -> AuditReport:
    """Check the rules A1 to A6 at one moment.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    return await database.read_snapshot(
        lambda connection: check_rules(connection, patience), longest=auditing.LONGEST_AUDIT
    )


async def audit_unless_running(database: Database, patience: Patience) -> AuditReport | None:
    """Check the rules, or return None where another worker does so at this moment.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """

    async def work(connection: Connection) -> AuditReport | None:
        return await check_rules(connection, patience) if await auditing.try_lock(connection) else None

    return await database.read_snapshot(work, longest=auditing.LONGEST_AUDIT)


async def check_rules(connection: Connection, patience: Patience) -> AuditReport:
    """Check the rules in a transaction that stands still."""
    at = await auditing.begin(connection)
    return AuditReport(at=at, rules=tuple([await rule(connection, patience) for rule in RULES]))


async def audit_with_vendor(deps: WorkerDeps, patience: Patience) -> AuditReport:
    """Check all rules, and so read the vendor's list in every workspace that was ever asked for.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    report = await audit(deps.database, patience)
    findings = tuple([finding async for finding in compare_with_vendor(deps)])
    vendor = RuleReport(rule=Rule.A7, count=len(findings), findings=findings[:MOST_NAMED])
    return AuditReport(at=report.at, rules=(*report.rules, vendor))


async def compare_with_vendor(deps: WorkerDeps) -> AsyncIterator[Finding]:
    """A7: hold each workspace's packages against the vendor's."""
    async with deps.database.connection() as connection:
        places = await auditing.known_places(connection)
    for project_id, workspace in places:
        try:
            findings = await compare_place(deps, project_id, workspace)
        except Unavailable as error:
            findings = [_unreadable(project_id, workspace, str(error))]
        for finding in findings:
            yield finding


async def compare_place(deps: WorkerDeps, project_id: str, workspace: str) -> list[Finding]:
    """Hold the packages of one workspace against the vendor's.

    Raises:
        Unavailable: a part that is needed does not answer.
    """
    place = reader_of(project_id, workspace)
    kept_for = deps.settings.retention
    released = [ours for ours in await _batches_of(deps, place) if ours.is_whole_released(kept_for)]
    theirs = await read_packages(deps, place, ids={ours.release_package_id for ours in released})
    if isinstance(theirs, Unreadable):
        return [_unreadable(project_id, workspace, theirs.reason)]
    known = await _batches_of(deps, place)
    return list(compare_packages(released, known, theirs, kept_for=kept_for))


async def _batches_of(deps: WorkerDeps, place: Asking) -> list[OurPackage]:
    async with deps.database.connection() as connection:
        return await auditing.batches_of_place(connection, place.project_id, place.workspace)


async def read_packages(
    deps: WorkerDeps, place: Asking, *, ids: set[str | None]
) -> list[TheirPackage] | Unreadable:
    """Read the packages of a workspace, and the contents of those with the given ids.

    Raises:
        Unavailable: the limiter lets no read through soon.
    """
    listing = await _list_packages(deps, place)
    if isinstance(listing, Unreadable):
        return listing
    theirs = []
    for package in listing.records:
        wanted = package.package_id in ids and package.delete_flag != _DELETED
        read = await _contents_of(deps, place, package) if wanted else None
        if isinstance(read, Unreadable):
            return read
        theirs.append(_their_package(package, read))
    return theirs


async def _list_packages(deps: WorkerDeps, place: Asking) -> Listing[ReleasePackage] | Unreadable:
    """Read the list of packages, again where it lost some meanwhile. New ones come to its beginning and hide none."""
    for _ in range(_READS_OF_A_LIST):
        listing = await read_package_list(deps, place, key_word=None)
        if isinstance(listing, Unreadable) or listing.has_all_of_start:
            return listing
    return Unreadable(reason="the vendor's list changed each time while it was read; audit again")


async def _contents_of(
    deps: WorkerDeps, place: Asking, package: ReleasePackage
) -> frozenset[str] | Unreadable:
    detail = await read_package(deps, place, package.package_id)
    return detail if isinstance(detail, Unreadable) else detail.pending_item_ids


def _their_package(package: ReleasePackage, pending_item_ids: frozenset[str] | None) -> TheirPackage:
    return TheirPackage(
        package_id=package.package_id,
        package_name=package.package_name,
        apply_user_id=package.apply_user_id,
        pending_item_ids=pending_item_ids,
    )


def _unreadable(project_id: str, workspace: str, reason: str) -> Finding:
    detail = f"the vendor's list could not be read, so nothing is proved: {reason}"
    return Finding(rule=Rule.A7, row=f"workspace {project_id}/{workspace}", detail=detail)


def log_report(report: AuditReport) -> None:
    """Write a line for each rule that does not hold."""
    for rule in report.rules:
        if rule.count:
            rows = [f"{finding.row} {finding.detail}" for finding in rule.findings[:_NAMED_IN_LOG]]
            log.warning(LogEvent.AUDIT_VIOLATED, rule=rule.rule.value, count=rule.count, rows=rows)


async def run_audits(deps: WorkerDeps) -> None:
    """Audit every period until cancelled, in one worker at a time; without a period never."""
    period = deps.settings.audit_period.total_seconds()
    while period:
        await asyncio.sleep(period)
        try:
            report = await audit_unless_running(deps.database, Patience.of(deps.settings))
        except DatabaseUnavailable as error:
            log.warning(LogEvent.AUDIT_FAILED, reason=str(error))
        except Exception:
            log.exception(LogEvent.AUDIT_FAILED)
        else:
            if report is not None:
                deps.metrics.show_audit(report)
                log_report(report)
