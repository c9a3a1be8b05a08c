"""What operators see: batches, workspaces, what needs attention, operations, and the trails."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.client.reading import Resource
from service.client.records import Failure, ReleaseRequest, VendorWords


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Resource):
    """An item of a batch, and the release request that asked for it."""

    release_request_id: str
    pending_item_id: str
    state: str
    attached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Resource):
    """One vendor call for a batch."""

    number: int
    epoch: int
    state: str
    outcome: str | None
    started_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    http_status: int | None
    error_code: str | None
    error_msg: str | None
    vendor_request_id: str | None
    manual: bool
    evidence: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow(Resource):
    """A batch, as lists show it."""

    id: str
    state: str
    project_id: str
    workspace: str
    apply_user_id: str
    approver_ids: tuple[str, ...]
    package_name: str
    release_package_id: str | None
    parent_id: str | None
    closed_by: str
    item_count: int
    epoch: int
    worker: str | None
    lease_expires_at: datetime | None
    counted_attempts: int
    wait_reason: str | None
    not_before: datetime | None
    error: Failure | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(BatchRow):
    """A batch with its members and every call that was made for it."""

    members: tuple[Member, ...]
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionEntry(Resource):
    """A batch that waits for an operator, and what is known of it."""

    batch_id: str
    project_id: str
    workspace: str
    since: datetime
    cause: str | None
    message: str | None
    apply_user_id: str
    approver_ids: tuple[str, ...]
    package_name: str
    counted_attempts: int
    attempt: int
    vendor: VendorWords | None
    evidence: Any
    members: tuple[Member, ...]
    decisions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSettings(Resource):
    """What a workspace goes by; a rate or a number of calls at once of 0 is no limit of its own."""

    max_items: int
    quiet_seconds: float
    linger_seconds: float
    rate: float
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker(Resource):
    """Whether calls are stopped since they would only fail; the rest is None where they are not."""

    state: str
    scope: str | None
    reason: str | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Resource):
    """What holds the work of a workspace back; a pause has no known end."""

    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace(Resource):
    """A workspace and how it stands."""

    project_id: str
    workspace: str
    waiting: int
    oldest_waiting_seconds: float | None
    paused: bool
    paused_at: datetime | None
    paused_reason: str | None
    settings: WorkspaceSettings
    breaker: Breaker
    hold: Hold | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPreview(Resource):
    """What an operation would act on: how many release requests, and the newest of them."""

    action: str
    filter: Mapping[str, str]
    count: int
    sample: tuple[ReleaseRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Resource):
    """An operation and how far it has come; ``skipped`` could not be acted on when their turn came."""

    id: str
    action: str
    filter: Mapping[str, str]
    actor: str
    reason: str
    state: str
    total: int
    succeeded: int
    skipped: int
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(Resource):
    """Something that the queue door has refused; ``payload`` is the beginning of what came."""

    id: str
    at: datetime
    source: str
    queue: str
    job_id: str
    code: str
    problem: Mapping[str, Any]
    payload: str | None
    payload_encoding: str | None
    payload_bytes: int | None
    project_id: str | None
    workspace: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(Resource):
    """An action that changed something."""

    at: datetime
    actor: str
    action: str
    target: str
    reason: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Resource):
    """A row that breaks a rule of the audit."""

    row: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Resource):
    """A rule of the audit, and the first rows that break it."""

    rule: str
    promise: str
    count: int
    rows: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit(Resource):
    """What an audit found."""

    at: datetime
    clean: bool
    violations: int
    rules: tuple[Rule, ...]
