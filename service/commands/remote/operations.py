"""The commands that cancel or retry many release requests: a look first, then the deed."""

import asyncio
from dataclasses import dataclass
from typing import Any

import click

from service.client.operating_records import Operation, OperationPreview
from service.commands.options import Exit
from service.commands.output import Table
from service.commands.remote.calling import Remote, remote
from service.commands.remote.filters import filter_options, filters_of
from service.commands.remote.request_tables import requests_table
from service.commands.remote.showing import note, show_json, show_members, show_table
from service.core.errors import ConfigurationError

_POLL_SECONDS = 0.5
_RUNNING = "running"

_OPERATION_ID = click.argument("operation_id", metavar="ID")
_ORDER = (
    click.option(
        "--execute", "is_executed", is_flag=True, help="Do it; without, only show what would be done."
    ),
    click.option("--expect", type=click.IntRange(0), help="With --execute: the count that was shown."),
    click.option("--reason", help="With --execute: why, for the timelines and the audit trail."),
    click.option(
        "--wait", "is_waiting", is_flag=True, help="With --execute: until it has come through all of them."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What shall be done with what matches."""

    is_executed: bool
    expect: int | None
    reason: str | None
    is_waiting: bool


@click.group()
def operations() -> None:
    """Cancel or retry many release requests at once, after a look at what would happen."""


def _with_order(command: Any) -> Any:  # noqa: ANN401 - click decorates anything
    for option in reversed(_ORDER):
        command = option(command)
    return filter_options(command)


@operations.command("cancel")
@_with_order
@remote
async def cancel_many(remote: Remote, **options: Any) -> int:  # noqa: ANN401 - what click has parsed
    """End every release request that matches and waits; without --execute, only show how many and which."""
    return await _operate(remote, "cancel", **options)


@operations.command("retry")
@_with_order
@remote
async def retry_many(remote: Remote, **options: Any) -> int:  # noqa: ANN401 - what click has parsed
    """Try again what matches and failed or was rejected; without --execute, only show how many and which."""
    return await _operate(remote, "retry", **options)


@operations.command("show")
@_OPERATION_ID
@click.option("--wait", "is_waiting", is_flag=True, help="Until it has come through all of them.")
@remote
async def show(remote: Remote, operation_id: str, *, is_waiting: bool) -> int:
    """Show how far an operation has come."""
    operation = await remote.client.operation(operation_id)
    return _shown(remote, await _ended(remote, operation) if is_waiting else operation)


@operations.command("abort")
@_OPERATION_ID
@click.option("--reason", help="Why, for the audit trail.")
@remote
async def abort(remote: Remote, operation_id: str, reason: str | None) -> int:
    """Stop an operation; what it has done stays done."""
    return _shown(remote, await remote.client.abort(operation_id, reason))


async def _operate(remote: Remote, action: str, **options: Any) -> int:  # noqa: ANN401 - what click has parsed
    order = Order(**{name: options.pop(name) for name in Order.__dataclass_fields__})
    filters = filters_of(options)
    if not filters:
        raise ConfigurationError("expected at least one filter, such as --state failed; given none")
    if not order.is_executed:
        return _previewed(remote, await remote.client.preview(action, filters))
    if order.expect is None or order.reason is None:
        raise ConfigurationError("--execute: expected --expect with the count that was shown, and a --reason")
    operation = await remote.client.execute(action, filters, expect=order.expect, reason=order.reason)
    return _shown(remote, await _ended(remote, operation) if order.is_waiting else operation)


async def _ended(remote: Remote, operation: Operation) -> Operation:
    while operation.state == _RUNNING:
        await asyncio.sleep(_POLL_SECONDS)
        operation = await remote.client.operation(operation.id)
    return operation


def _previewed(remote: Remote, preview: OperationPreview) -> int:
    if remote.output == "json":
        show_json(preview.raw)
        return Exit.OK
    show_table(requests_table(preview.sample), remote.output)
    note(f"{preview.count} match: --execute --expect {preview.count} --reason TEXT acts on them.")
    return Exit.OK


def _shown(remote: Remote, operation: Operation) -> int:
    members = {
        "id": operation.id,
        "action": operation.action,
        "state": operation.state,
        "total": operation.total,
        "succeeded": operation.succeeded,
        "skipped": operation.skipped,
        "filter": operation.filter,
        "by": operation.actor,
        "reason": operation.reason,
        "created": operation.created_at,
        "finished": operation.finished_at,
    }
    match remote.output:
        case "json":
            show_json(operation.raw)
        case "tsv":
            show_table(Table(columns=tuple(members), rows=[tuple(members.values())]), "tsv")
        case _:
            show_members(members)
    return Exit.OK
