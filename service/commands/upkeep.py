"""The commands that look after the database: its schema, and whether the data are right."""

import asyncio
from functools import partial

import click

from service.commands.audit import run_audit, run_self_test
from service.commands.migrate import apply_migrations, migrations_applied, show_migrations
from service.commands.options import JSON_OUTPUT, OUTPUT, command_errors
from service.commands.output import write_table
from service.commands.remote.auditing import audit_by_service
from service.commands.remote.calling import run_with_client
from service.commands.start import read_start, run
from service.core.errors import ConfigurationError


@click.command()
@click.option("--status", "is_status", is_flag=True, help="Only show how each migration stands.")
@OUTPUT
@JSON_OUTPUT
@command_errors
def migrate(is_status: bool, output: str) -> int:
    """Bring the schema to where this version needs it; safe when run by several at once."""
    database_url = read_start().settings.require_database()
    if is_status:
        table = asyncio.run(show_migrations(database_url))
    else:
        table = migrations_applied(asyncio.run(apply_migrations(database_url)))
    write_table(table, output)
    return 0


@click.command()
@click.option("--vendor", "is_vendor_asked", is_flag=True, help="Also compare with the vendor's lists.")
@click.option("--self-test", "is_self_test", is_flag=True, help="Show that each rule finds a damaged row.")
@click.option("--url", help="Have the service at this address do it, with the key of RELEASE_API_KEY.")
@OUTPUT
@JSON_OUTPUT
@command_errors
def audit(output: str, *, is_vendor_asked: bool, is_self_test: bool, url: str | None) -> int:
    """Prove on the data that nothing is lost or doubled; exit 1 with the rows that are wrong."""
    if url is not None:
        if is_vendor_asked or is_self_test:
            raise ConfigurationError(
                "--url: expected neither --vendor nor --self-test, which need the database"
            )
        return run_with_client(partial(audit_by_service, output=output), url, None)
    start = read_start()
    if is_self_test:
        return run(run_self_test(start, output=output))
    return run(run_audit(start, is_vendor_asked=is_vendor_asked, output=output))
