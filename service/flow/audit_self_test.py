"""Shows that the audit finds what it is there for: damages copies of the tables, one damage a rule.

Takes: a connection to Postgres; the copies are seen by it alone.
Leaves: for each rule whether its damage was found; the copies are gone.
If it dies here: the copies go with its connection.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.core.auditing import NOTHING_PRUNED, Finding, Patience, Rule, RuleReport, compare_packages
from service.flow.audit import RULES
from service.gateways.store import audit_copies, auditing
from service.gateways.store.database import Connection, Database

RuleCheck = Callable[[Connection, Patience], Awaitable[RuleReport]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTested:
    """Whether a rule is silent on good rows and finds a damaged one."""

    rule: Rule
    is_silent_when_clean: bool
    is_damage_found: bool

    @property
    def is_good(self) -> bool:
        """Whether the rule can be relied on."""
        return self.is_silent_when_clean and self.is_damage_found


@asynccontextmanager
async def _taken_back(connection: Connection) -> AsyncIterator[None]:
    """Run a block in a transaction, or a part of one, that is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def self_test(
    database: Database, patience: Patience, *, checks: Sequence[RuleCheck] = RULES
) -> list[RuleTested]:
    """Damage copies of a few rows, one damage for each rule.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    async with database.connection() as connection, _taken_back(connection):
        await audit_copies.make_copies(connection)
        tested = [await _test_rule(connection, check, patience) for check in checks]
        return [*tested, await _test_comparison(connection)]


async def _test_rule(connection: Connection, check: RuleCheck, patience: Patience) -> RuleTested:
    before = await check(connection, patience)
    async with _taken_back(connection):
        await audit_copies.damage(connection, before.rule)
        after = await check(connection, patience)
    return RuleTested(
        rule=before.rule,
        is_silent_when_clean=before.count == 0,
        is_damage_found=_names(after.findings, before.rule),
    )


async def _test_comparison(connection: Connection) -> RuleTested:
    """Damage the vendor's list in memory: the vendor is not touched."""
    batches = await auditing.batches_of_place(connection, "p", "w")
    damaged = [audit_copies.listed(batches[0], items=frozenset({"another"}))]
    good = [audit_copies.listed(batches[0])]
    return RuleTested(
        rule=Rule.A7,
        is_silent_when_clean=not list(compare_packages(batches, batches, good, kept_for=NOTHING_PRUNED)),
        is_damage_found=_names(compare_packages(batches, batches, damaged, kept_for=NOTHING_PRUNED), Rule.A7),
    )


def _names(findings: Iterable[Finding], rule: Rule) -> bool:
    return any(finding.row == audit_copies.DAMAGED_ROWS[rule] for finding in findings)
