"""The commands for workspaces: look, pause, resume, flush, and settings."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import click

from service.client.operating_records import Workspace
from service.commands.options import Exit
from service.commands.output import Table
from service.commands.remote.ages import span_of
from service.commands.remote.calling import Remote, remote
from service.commands.remote.places import place_of
from service.commands.remote.showing import show_json, show_members, show_rows, show_table
from service.core.errors import ConfigurationError

_DEFAULT = "default"

_NAME = click.argument("name", metavar="WS")
_REASON = click.option("--reason", help="Why, for the audit trail.")
_SETTINGS = (
    click.option("--max-items", metavar="N", help="A full batch."),
    click.option("--quiet-seconds", metavar="N", help="Close a window after so long without a newcomer."),
    click.option("--linger-seconds", metavar="N", help="Close a window after so long in any case."),
    click.option("--rate", metavar="N", help="Calls a second; 0 is no limit of its own."),
    click.option("--concurrency", metavar="N", help="Calls at once; 0 is no limit of its own."),
)


@click.command()
@remote
async def workspaces(remote: Remote) -> int:
    """List the workspaces: what waits, for how long, and what holds it back."""
    found = [workspace async for workspace in remote.client.workspaces()]
    show_rows(found, workspaces_table(found, remote.output), remote.output)
    return Exit.OK


@click.command()
@_NAME
@_REASON
@remote
async def pause(remote: Remote, name: str, reason: str | None) -> int:
    """Send nothing of a workspace; requests are still accepted."""
    return await _act(remote, name, lambda place: remote.client.pause(place, reason))


@click.command()
@_NAME
@_REASON
@remote
async def resume(remote: Remote, name: str, reason: str | None) -> int:
    """End the pause of a workspace."""
    return await _act(remote, name, lambda place: remote.client.resume(place, reason))


@click.command()
@_NAME
@_REASON
@remote
async def flush(remote: Remote, name: str, reason: str | None) -> int:
    """Close the open windows of a workspace, so that what waits in them is sent."""
    return await _act(remote, name, lambda place: remote.client.flush(place, reason))


def _with_settings(command: Any) -> Any:  # noqa: ANN401 - click decorates anything
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@click.command()
@_NAME
@_with_settings
@_REASON
@remote
async def settings(remote: Remote, name: str, reason: str | None, **given: str | None) -> int:
    """Show the settings of a workspace, or change those that are given; "default" is the deployment's."""
    changes = {member: _number_of(member, text) for member, text in given.items() if text is not None}
    if not changes:
        return await _act(remote, name, remote.client.workspace)
    return await _act(remote, name, lambda place: remote.client.configure(place, changes, reason))


async def _act(remote: Remote, name: str, call: Callable[[str], Awaitable[Workspace]]) -> int:
    show_workspace(await call(await place_of(remote.client, name)), remote.output)
    return Exit.OK


def _number_of(member: str, text: str) -> float | None:
    if text == _DEFAULT:
        return None
    try:
        number = float(text)
    except ValueError:
        option = f"--{member.replace('_', '-')}"
        raise ConfigurationError(f"{option}: expected a number, or {_DEFAULT}; given {text!r}") from None
    return int(number) if number.is_integer() else number


def show_workspace(workspace: Workspace, output: str) -> None:
    """Print a workspace: for people with its settings, for programs in a row, or as the service wrote it."""
    match output:
        case "json":
            show_json(workspace.raw)
        case "tsv":
            show_table(workspaces_table([workspace], output), output)
        case _:
            show_members(_members_of(workspace))


def workspaces_table(found: Sequence[Workspace], output: str) -> Table:
    """Return a row for each workspace."""
    rows = [
        (
            _name_of(one),
            one.paused,
            one.waiting,
            _oldest_of(one, output),
            one.hold.reason if one.hold else None,
            one.hold.until if one.hold else None,
            one.breaker.state,
        )
        for one in found
    ]
    columns = ("workspace", "paused", "waiting", "oldest", "held_by", "until", "breaker")
    return Table(columns=columns, rows=rows)


def _oldest_of(workspace: Workspace, output: str) -> float | str | None:
    seconds = workspace.oldest_waiting_seconds
    return seconds if seconds is None or output == "tsv" else span_of(seconds)


def _members_of(workspace: Workspace) -> Mapping[str, Any]:
    own = workspace.settings
    return {
        "workspace": _name_of(workspace),
        "paused": workspace.paused,
        "paused since": workspace.paused_at,
        "paused for": workspace.paused_reason,
        "waiting": workspace.waiting,
        "oldest": _oldest_of(workspace, "table"),
        "held by": workspace.hold.reason if workspace.hold else None,
        "held until": workspace.hold.until if workspace.hold else None,
        "breaker": workspace.breaker.state,
        "breaker for": workspace.breaker.reason,
        "max items": own.max_items,
        "quiet": f"{own.quiet_seconds:g} s",
        "linger": f"{own.linger_seconds:g} s",
        "rate": f"{own.rate:g} a second" if own.rate else "no limit of its own",
        "concurrency": f"{own.concurrency}" if own.concurrency else "no limit of its own",
    }


def _name_of(workspace: Workspace) -> str:
    return f"{workspace.project_id}/{workspace.workspace}"
