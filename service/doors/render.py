"""Writes what the flow returns as the JSON of the contract."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import orjson
from aiohttp import web

from service.core.audit_trail import KeptEntry
from service.core.auditing import PROMISES, AuditReport
from service.core.model import Event, ItemState, RequestState
from service.doors.operating_resources import AuditLogEntry, AuditResource
from service.doors.resources import (
    AttemptResource,
    BatchResource,
    BatchRow,
    ErrorResource,
    EventResource,
    ItemResource,
    MemberResource,
    ReleaseRequest,
    RequestLinks,
)
from service.flow.accept_group import Accepted
from service.flow.status import wait_of_newcomer, what_it_waits_for
from service.gateways.store.batch_reading import AttemptView, BatchView, MemberView
from service.gateways.store.reading import ItemView, RequestView

REQUESTS_PATH = "/v1/release-requests"
BATCHES_PATH = "/v1/batches"


def to_json(value: object) -> bytes:
    """Write JSON; times are UTC with ``Z``."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z, default=_plain)


def json_response(
    value: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=to_json(value), status=status, headers=headers, content_type="application/json")


def _plain(value: object) -> str:
    """Write what orjson does not know: asyncpg's ids are of a subclass of UUID."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def etag_of(body: bytes) -> str:
    """Return a weak validator of a representation (RFC 9110)."""
    return f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def request_resource(request: RequestView) -> ReleaseRequest:
    """Return a release request as the contract shows it."""
    wait = what_it_waits_for(request)
    return {
        "id": request.request_id,
        "state": request.state,
        "done": request.state.is_done,
        "wait_reason": wait.reason,
        "not_before": wait.until,
        "project_id": request.project_id,
        "workspace": request.workspace,
        "apply_user_id": request.apply_user_id,
        "approver_ids": request.approver_ids,
        "package_name": request.package_name,
        "priority": request.priority,
        "items": [_item(item) for item in request.items],
        "attempts": max((item.counted_attempts for item in request.items), default=0),
        "labels": request.labels,
        "note": request.note,
        "error": kept_error(request.error),
        "created_at": request.created_at,
        "updated_at": request.updated_at,
        "finished_at": request.finished_at,
        "version": request.version,
        "links": _links(request.request_id),
    }


def kept_error(kept: dict[str, Any] | None) -> ErrorResource | None:
    """Return an error as it is kept: only this service writes the column, in this form."""
    return cast("ErrorResource | None", kept)


def _item(item: ItemView) -> ItemResource:
    return {
        "pending_item_id": item.pending_item_id,
        "state": item.state,
        "batch_id": item.batch_id,
        "package_name": item.package_name,
        "release_package_id": item.release_package_id,
        "error": kept_error(item.error),
    }


def accepted_resource(accepted: Accepted, *, is_paused: bool) -> ReleaseRequest:
    """Return a request that was accepted this moment, without asking Postgres for what we have just written.

    ``is_paused`` is what the process knows of its workspace.
    """
    request_id, submission = accepted.request.request_id, accepted.request.submission
    key, now = submission.key, accepted.created_at
    wait = wait_of_newcomer(is_paused=is_paused, begins_at=submission.not_before, now=now)
    return {
        "id": request_id,
        "state": RequestState.ACCEPTED,
        "done": False,
        "wait_reason": wait.reason,
        "not_before": wait.until,
        "project_id": key.project_id,
        "workspace": key.workspace,
        "apply_user_id": key.apply_user_id,
        "approver_ids": submission.approver_ids,
        "package_name": key.package_name,
        "priority": submission.priority,
        "items": [_waiting_item(item) for item in submission.pending_item_ids],
        "attempts": 0,
        "labels": dict(submission.labels),
        "note": submission.note,
        "error": None,
        "created_at": accepted.created_at,
        "updated_at": accepted.created_at,
        "finished_at": None,
        "version": 1,
        "links": _links(request_id),
    }


def _waiting_item(pending_item_id: str) -> ItemResource:
    return {
        "pending_item_id": pending_item_id,
        "state": ItemState.WAITING,
        "batch_id": None,
        "package_name": None,
        "release_package_id": None,
        "error": None,
    }


def _links(request_id: UUID) -> RequestLinks:
    path = f"{REQUESTS_PATH}/{request_id}"
    return {"self": path, "events": f"{path}/events", "cancel": f"{path}/cancel"}


def event_resource(event: Event) -> EventResource:
    """Return an entry of a timeline."""
    return {
        "seq": event.seq,
        "at": event.at,
        "type": event.type,
        "state": event.state,
        "batch_id": event.batch_id,
        "attempt": event.attempt,
        "detail": event.detail,
    }


def batch_row(batch: BatchView) -> BatchRow:
    """Return a batch as lists show it."""
    return {
        "id": batch.batch_id,
        "state": batch.state,
        "project_id": batch.project_id,
        "workspace": batch.workspace,
        "apply_user_id": batch.apply_user_id,
        "approver_ids": batch.approver_ids,
        "package_name": batch.package_name,
        "release_package_id": batch.release_package_id,
        "parent_id": batch.parent_id,
        "closed_by": batch.closed_by,
        "item_count": batch.item_count,
        "epoch": batch.epoch,
        "worker": batch.worker,
        "lease_expires_at": batch.lease_expires_at,
        "counted_attempts": batch.counted_attempts,
        "wait_reason": batch.wait_reason,
        "not_before": batch.not_before,
        "error": kept_error(batch.error),
        "created_at": batch.created_at,
        "updated_at": batch.updated_at,
        "finished_at": batch.finished_at,
        "links": {"self": f"{BATCHES_PATH}/{batch.batch_id}"},
    }


def batch_resource(batch: BatchView) -> BatchResource:
    """Return a batch with its members and attempts."""
    return {
        **batch_row(batch),
        "members": [member_resource(member) for member in batch.members],
        "attempts": [_attempt(attempt) for attempt in batch.attempts],
    }


def member_resource(member: MemberView) -> MemberResource:
    """Return an item of a batch."""
    return {
        "release_request_id": member.request_id,
        "pending_item_id": member.pending_item_id,
        "state": member.state,
        "attached": member.is_attached,
    }


def _attempt(attempt: AttemptView) -> AttemptResource:
    return {
        "number": attempt.number,
        "epoch": attempt.epoch,
        "state": "open" if attempt.outcome is None else "closed",
        "outcome": attempt.outcome,
        "started_at": attempt.started_at,
        "sent_at": attempt.sent_at,
        "finished_at": attempt.finished_at,
        "duration_ms": duration_ms(attempt.started_at, attempt.finished_at),
        "http_status": attempt.http_status,
        "error_code": attempt.error_code,
        "error_msg": attempt.error_msg,
        "vendor_request_id": attempt.vendor_request_id,
        "manual": attempt.manual,
        "evidence": attempt.evidence,
    }


def duration_ms(start: datetime, end: datetime | None) -> int | None:
    """Return whole milliseconds between two moments, or None while the second is to come."""
    return None if end is None else round((end - start).total_seconds() * 1000)


def audit_resource(report: AuditReport) -> AuditResource:
    """Return what an audit found."""
    return {
        "at": report.at,
        "clean": report.is_clean,
        "violations": report.violations,
        "rules": [
            {
                "rule": rule.rule.value,
                "promise": PROMISES[rule.rule],
                "count": rule.count,
                "rows": [{"row": finding.row, "detail": finding.detail} for finding in rule.findings],
            }
            for rule in report.rules
        ],
    }


def audit_log_entry(kept: KeptEntry) -> AuditLogEntry:
    """Return an action of the audit trail."""
    entry = kept.entry
    return {
        "at": kept.at,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "reason": entry.reason,
        "before": _members(entry.before),
        "after": _members(entry.after),
        "request_id": entry.http_request_id,
    }


def _members(kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if kept is None else dict(kept)
