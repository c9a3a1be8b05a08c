"""Brings the schema up to date, and shows how it stands."""

import asyncio
from datetime import timedelta

import structlog

from service.commands.output import Table
from service.core.errors import DatabaseUnavailable
from service.core.telemetry import LogEvent
from service.deps import wait_for
from service.gateways import migrate
from service.gateways.migrate import MigrationReport

_ANSWER_WITHIN = timedelta(seconds=60)

log = structlog.get_logger()


async def apply_migrations(database_url: str) -> MigrationReport:
    """Apply what is missing; waits up to a minute for PostgreSQL to answer.

    Raises:
        DatabaseUnavailable: PostgreSQL did not answer in time.
        AccessError: PostgreSQL does not let us in.
        MigrationError: a migration failed or was edited after it had been applied.
    """
    try:
        async with asyncio.timeout(_ANSWER_WITHIN.total_seconds()):
            await wait_for("PostgreSQL", lambda: migrate.status(database_url))
    except TimeoutError:
        raise DatabaseUnavailable("PostgreSQL did not answer within a minute") from None
    report = await migrate.migrate(database_url)
    log.info(LogEvent.SCHEMA_MIGRATED, applied=report.applied, already=len(report.already))
    return report


async def show_migrations(database_url: str) -> Table:
    """Return how each migration stands."""
    statuses = await migrate.status(database_url)
    return Table(
        columns=("version", "name", "state"),
        rows=[(one.version, one.name, one.state.value) for one in statuses],
    )


def migrations_applied(report: MigrationReport) -> Table:
    """Return what a run did."""
    rows = [(version, "applied now") for version in report.applied]
    rows += [(version, "applied before") for version in report.already]
    return Table(columns=("version", "state"), rows=sorted(rows))
