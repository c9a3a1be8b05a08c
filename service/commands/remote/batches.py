"""The commands for batches, and for those that wait for an operator's decision."""

from collections.abc import Sequence

import click

from service.client.operating_records import AttentionEntry, Batch, BatchRow
from service.commands.options import Exit
from service.commands.output import Table
from service.commands.remote.calling import Remote, remote
from service.commands.remote.paging import LIMIT, first_of
from service.commands.remote.request_tables import words_of
from service.commands.remote.showing import show_json, show_members, show_rows, show_table
from service.core.model import BatchState
from service.core.resolution import Decision

_BATCH_ID = click.argument("batch_id", metavar="BATCH")


@click.command()
@click.option("--project-id", help="Of this project.")
@click.option("--workspace", help="Of this workspace.")
@click.option("--state", type=click.Choice([state.value for state in BatchState]), help="In this state.")
@LIMIT
@remote
async def batches(remote: Remote, limit: int, **filters: str | None) -> int:
    """List batches, the newest first."""
    shown = await first_of(remote.client.batches(**filters), limit)
    show_rows(shown, batches_table(shown), remote.output)
    return Exit.OK


@click.command()
@_BATCH_ID
@remote
async def batch(remote: Remote, batch_id: str) -> int:
    """Show a batch with its members and every call that was made for it."""
    show_batch(await remote.client.batch(batch_id), remote.output)
    return Exit.OK


@click.command()
@LIMIT
@remote
async def attention(remote: Remote, limit: int) -> int:
    """List the batches that wait for an operator's decision, those that wait longest first."""
    shown = await first_of(remote.client.attention(), limit)
    show_rows(shown, attention_table(shown), remote.output)
    return Exit.OK


@click.command()
@_BATCH_ID
@click.option(
    "--decision",
    required=True,
    type=click.Choice([decision.value for decision in Decision]),
    help="released: the package was made. resend: it was not, call again. rejected: it was not, and shall not be.",
)
@click.option("--release-package-id", metavar="ID", help="The vendor's id of the package, with released.")
@click.option("--reason", required=True, help="Why, for the audit trail.")
@remote
async def resolve(
    remote: Remote, batch_id: str, decision: str, release_package_id: str | None, reason: str
) -> int:
    """Decide about a batch that needs attention; with resend there are two packages if the first was made after all."""
    decided = await remote.client.resolve(
        batch_id, decision=decision, reason=reason, release_package_id=release_package_id
    )
    show_batch(decided, remote.output)
    return Exit.OK


def show_batch(batch: Batch, output: str) -> None:
    """Print a batch: for people with members and attempts, for programs in a row, or as the service wrote it."""
    match output:
        case "json":
            show_json(batch.raw)
        case "tsv":
            show_table(batches_table([batch]), output)
        case _:
            show_members(
                {
                    "id": batch.id,
                    "state": batch.state,
                    "waits for": batch.wait_reason,
                    "not before": batch.not_before,
                    "error": words_of(batch.error),
                    "workspace": f"{batch.project_id}/{batch.workspace}",
                    "applicant": batch.apply_user_id,
                    "approvers": batch.approver_ids,
                    "package": batch.package_name,
                    "package id": batch.release_package_id,
                    "closed by": batch.closed_by,
                    "part of": batch.parent_id,
                    "created": batch.created_at,
                    "finished": batch.finished_at,
                }
            )
            click.echo()
            show_table(_members_table(batch), output)
            click.echo()
            show_table(_attempts_table(batch), output)


def batches_table(found: Sequence[BatchRow]) -> Table:
    """Return a row for each batch."""
    rows = [
        (
            one.id,
            one.state,
            one.wait_reason,
            f"{one.project_id}/{one.workspace}",
            one.item_count,
            one.closed_by,
            one.counted_attempts,
            one.release_package_id,
            one.error.code if one.error else None,
            one.created_at,
        )
        for one in found
    ]
    columns = (
        "id",
        "state",
        "waits_for",
        "workspace",
        "items",
        "closed_by",
        "attempts",
        "package",
        "error",
        "created",
    )
    return Table(columns=columns, rows=rows)


def attention_table(found: Sequence[AttentionEntry]) -> Table:
    """Return a row for each batch that waits for a decision."""
    rows = [
        (
            one.batch_id,
            one.since,
            f"{one.project_id}/{one.workspace}",
            one.package_name,
            len(one.members),
            one.cause,
            " ".join(part for part in (one.vendor.error_code, one.vendor.error_msg) if part)
            if one.vendor
            else None,
        )
        for one in found
    ]
    return Table(columns=("batch", "since", "workspace", "package", "items", "cause", "vendor"), rows=rows)


def _members_table(batch: Batch) -> Table:
    rows = [(one.pending_item_id, one.state, one.release_request_id, one.attached) for one in batch.members]
    return Table(columns=("item", "state", "request", "attached"), rows=rows)


def _attempts_table(batch: Batch) -> Table:
    rows = [
        (
            one.number,
            one.outcome or one.state,
            one.started_at,
            one.duration_ms,
            one.http_status,
            one.error_code,
            one.error_msg,
            one.vendor_request_id,
            one.manual,
        )
        for one in batch.attempts
    ]
    columns = ("attempt", "outcome", "started", "ms", "http", "code", "message", "vendor_request", "manual")
    return Table(columns=columns, rows=rows)
