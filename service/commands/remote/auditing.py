"""Has the service audit its data, for who has no access to its database."""

import click

from service.client.release_client import ReleaseClient
from service.commands.options import Exit
from service.commands.output import Table
from service.commands.remote.showing import show_json, show_table


async def audit_by_service(client: ReleaseClient, *, output: str) -> int:
    """Have the data audited, and show the wrong rows; 0 when there is none.

    Raises:
        ReleaseError: the key is not one of an admin of all workspaces, or the service does not answer.
    """
    async with client:
        audit = await client.audit()
    if output == "json":
        show_json(audit.raw)
    else:
        rows = [(rule.rule, finding.row, finding.detail) for rule in audit.rules for finding in rule.rows]
        show_table(Table(columns=("rule", "row", "detail"), rows=rows), output)
    if output == "table":
        click.echo("clean" if audit.clean else f"NOT CLEAN: {audit.violations} rows are wrong")
    return Exit.OK if audit.clean else Exit.FAILED
