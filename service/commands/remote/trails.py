"""The commands that look back: what the queue door refused, and who changed what."""

import click

from service.commands.options import Exit
from service.commands.output import Table
from service.commands.remote.calling import Remote, remote
from service.commands.remote.paging import LIMIT, first_of
from service.commands.remote.showing import show_rows


@click.command()
@LIMIT
@remote
async def rejects(remote: Remote, limit: int) -> int:
    """List what came through the queue and was refused, the newest first."""
    shown = await first_of(remote.client.rejects(), limit)
    rows = [
        (one.id, one.at, one.job_id, one.code, one.problem.get("detail"), one.workspace, one.payload_bytes)
        for one in shown
    ]
    columns = ("id", "at", "job", "code", "detail", "workspace", "bytes")
    show_rows(shown, Table(columns=columns, rows=rows), remote.output)
    return Exit.OK


@click.command("audit-log")
@click.option("--action", help="Only this action, such as workspace.paused.")
@click.option("--target", help="Only what was done to this: an id, or PROJECT/WORKSPACE.")
@LIMIT
@remote
async def audit_log(remote: Remote, limit: int, **filters: str | None) -> int:
    """List who changed what, when and why, the newest first."""
    shown = await first_of(remote.client.audit_log(**filters), limit)
    rows = [(one.at, one.actor, one.action, one.target, one.reason) for one in shown]
    show_rows(shown, Table(columns=("at", "actor", "action", "target", "reason"), rows=rows), remote.output)
    return Exit.OK
