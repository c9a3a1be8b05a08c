"""The JSON of what operators and admins see: operations, the audit, and the audit trail."""

from datetime import datetime
from typing import Any
from uuid import UUID

# pydantic reads a TypedDict of typing itself only from Python 3.12 on.
from typing_extensions import TypedDict

from service.core.operations import OperationAction, OperationState
from service.doors.resources import ReleaseRequest


class FindingResource(TypedDict):
    """A row that breaks a rule of the audit."""

    row: str
    detail: str


class RuleResource(TypedDict):
    """A rule of the audit, and the rows that break it."""

    rule: str
    promise: str
    count: int
    rows: list[FindingResource]


class AuditResource(TypedDict):
    """What an audit found."""

    at: datetime
    clean: bool
    violations: int
    rules: list[RuleResource]


class AuditLogEntry(TypedDict):
    """An action that changed something."""

    at: datetime
    actor: str
    action: str
    target: str
    reason: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None


class AuditLogPage(TypedDict):
    """A page of the audit trail, newest first."""

    entries: list[AuditLogEntry]
    next_page_token: str


class OperationPreview(TypedDict):
    """What an operation would act on: how many release requests, and the newest of them."""

    action: OperationAction
    filter: dict[str, str]
    count: int
    sample: list[ReleaseRequest]


class OperationLinks(TypedDict):
    """Where to go from an operation."""

    self: str
    abort: str


class OperationResource(TypedDict):
    """An operation and how far it has come; ``skipped`` could not be acted on when their turn came."""

    id: UUID
    action: OperationAction
    filter: dict[str, str]
    actor: str
    reason: str
    state: OperationState
    total: int
    succeeded: int
    skipped: int
    created_at: datetime
    finished_at: datetime | None
    links: OperationLinks
