"""How release requests and their timelines look."""

from collections.abc import Sequence
from typing import Any

import click

from service.client.records import Event, Failure, ReleaseRequest, Submitted
from service.commands.output import Table
from service.commands.remote.showing import show_json, show_members, show_table


def requests_table(requests: Sequence[ReleaseRequest]) -> Table:
    """Return a row for each request."""
    rows = [
        (
            one.id,
            one.state,
            one.wait_reason,
            f"{one.project_id}/{one.workspace}",
            len(one.items),
            sum(item.state == "released" for item in one.items),
            one.error.code if one.error else None,
            one.created_at,
        )
        for one in requests
    ]
    columns = ("id", "state", "waits_for", "workspace", "items", "released", "error", "created")
    return Table(columns=columns, rows=rows)


def show_request(request: ReleaseRequest, output: str) -> None:
    """Print a request: for people with its items, for programs in a row, or as the service wrote it."""
    match output:
        case "json":
            show_json(request.raw)
        case "tsv":
            show_table(requests_table([request]), output)
        case _:
            show_members(_members_of(request))
            click.echo()
            show_table(_items_table(request), output)


def _members_of(request: ReleaseRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "state": request.state,
        "waits for": request.wait_reason,
        "not before": request.not_before,
        "error": words_of(request.error),
        "workspace": f"{request.project_id}/{request.workspace}",
        "applicant": request.apply_user_id,
        "approvers": request.approver_ids,
        "package": request.package_name,
        "priority": request.priority,
        "labels": request.labels,
        "note": request.note,
        "attempts": request.attempts,
        "created": request.created_at,
        "finished": request.finished_at,
    }


def _items_table(request: ReleaseRequest) -> Table:
    rows = [
        (item.pending_item_id, item.state, item.release_package_id, item.batch_id, words_of(item.error))
        for item in request.items
    ]
    return Table(columns=("item", "state", "package", "batch", "error"), rows=rows)


def words_of(error: Failure | None) -> str | None:
    """Say what an error is, with the vendor's words where they are there."""
    if error is None:
        return None
    vendor = error.vendor
    if vendor is None or not (vendor.error_code or vendor.error_msg):
        return f"{error.code}: {error.message}"
    return f"{error.code}: {' '.join(part for part in (vendor.error_code, vendor.error_msg) if part)}"


def events_table(events: Sequence[Event]) -> Table:
    """Return a row for each entry of a timeline."""
    rows = [(one.seq, one.at, one.type, one.state, one.batch_id, one.attempt) for one in events]
    return Table(columns=("seq", "at", "event", "state", "batch", "attempt"), rows=rows)


def submitted_table(submitted: Sequence[Submitted]) -> Table:
    """Return a row for each request of many that were handed in: its id, or why it was refused."""
    rows = [
        (
            number,
            one.status,
            one.release_request.id if one.release_request else None,
            one.release_request.state if one.release_request else None,
            bool(one.replayed),
            None if one.error is None else _refusal(one),
        )
        for number, one in enumerate(submitted, start=1)
    ]
    return Table(columns=("number", "status", "id", "state", "replayed", "error"), rows=rows)


def _refusal(submitted: Submitted) -> str:
    error = submitted.error
    if error is None:
        return ""
    details = "; ".join(f"{one.get('pointer')}: {one.get('detail')}" for one in error.errors)
    return f"{error.code}: {details or error.detail}"
