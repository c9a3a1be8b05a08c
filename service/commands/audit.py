"""Runs the audit, or its self-test, and shows what is wrong."""

from collections.abc import Sequence

import click

from service.commands.database import open_database
from service.commands.output import Table, write_table
from service.commands.start import Start
from service.core.auditing import PROMISES, AuditReport, Patience
from service.deps import open_worker_deps
from service.flow.audit import audit, audit_with_vendor
from service.flow.audit_self_test import RuleTested, self_test

_POOL = 2


async def run_audit(start: Start, *, is_vendor_asked: bool, output: str) -> int:
    """Audit and show the wrong rows; 0 when there is none.

    Raises:
        ConfigurationError: a setting that is needed is missing.
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    report = await make_report(start, is_vendor_asked=is_vendor_asked)
    write_table(findings_table(report), output)
    if output == "table":
        click.echo(summary_of(report))
    return 0 if report.is_clean else 1


async def make_report(start: Start, *, is_vendor_asked: bool) -> AuditReport:
    """Audit with the settings of a start.

    Raises:
        ConfigurationError: a setting that is needed is missing.
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    patience = Patience.of(start.settings)
    if is_vendor_asked:
        async with open_worker_deps(
            start.settings, start.credentials, pool_size=_POOL, is_patient=False
        ) as deps:
            return await audit_with_vendor(deps, patience)
    async with open_database(start.settings.require_database()) as database:
        return await audit(database, patience)


def findings_table(report: AuditReport) -> Table:
    """Return the wrong rows."""
    rows = [(finding.rule.value, finding.row, finding.detail) for finding in report.findings]
    return Table(columns=("rule", "row", "detail"), rows=rows)


def summary_of(report: AuditReport) -> str:
    """Say of each rule how many rows break it."""
    lines = [""]
    for rule in report.rules:
        count = f"{rule.count} wrong" if rule.count else "ok"
        lines.append(f"{rule.rule.value}  {count:>9}  {PROMISES[rule.rule]}")
    lines.append("clean" if report.is_clean else f"NOT CLEAN: {report.violations} rows are wrong")
    return "\n".join(lines)


async def run_self_test(start: Start, *, output: str) -> int:
    """Damage copies of a few rows, one damage a rule; 0 when each is found.

    Raises:
        ConfigurationError: a setting that is needed is missing.
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    async with open_database(start.settings.require_database()) as database:
        tested = await self_test(database, Patience.of(start.settings))
    write_table(self_test_table(tested), output)
    return 0 if all(rule.is_good for rule in tested) else 1


def self_test_table(tested: Sequence[RuleTested]) -> Table:
    """Return what each rule did."""
    rows = [
        (
            rule.rule.value,
            "found" if rule.is_damage_found else "MISSED",
            "silent" if rule.is_silent_when_clean else "FALSE ALARM",
            PROMISES[rule.rule],
        )
        for rule in tested
    ]
    return Table(columns=("rule", "damage", "good_rows", "promise"), rows=rows)
