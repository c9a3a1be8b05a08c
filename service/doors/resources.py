"""The JSON that the service answers with: what is written has these shapes, and the document shows them."""

from datetime import datetime
from typing import Any, NotRequired
from uuid import UUID

# pydantic reads a TypedDict of typing itself only from Python 3.12 on.
from typing_extensions import TypedDict

from service.core.model import (
    AttemptOutcome,
    BatchState,
    ClosedBy,
    ItemState,
    Priority,
    RequestState,
    WaitReason,
)


class VendorWords(TypedDict):
    """The vendor's answer, untouched."""

    status: int | None
    error_code: str | None
    error_msg: str | None
    request_id: str | None


class ErrorResource(TypedDict):
    """Why something was not released; ``code`` is ours and stable."""

    code: str
    message: str
    retryable: bool
    vendor: VendorWords | None


class ItemResource(TypedDict):
    """A pending item of a release request."""

    pending_item_id: str
    state: ItemState
    batch_id: UUID | None
    package_name: str | None
    release_package_id: str | None
    error: ErrorResource | None


class RequestLinks(TypedDict):
    """Where to go from a release request."""

    self: str
    events: str
    cancel: str


class ReleaseRequest(TypedDict):
    """A release request and where it stands."""

    id: UUID
    state: RequestState
    done: bool
    wait_reason: WaitReason | None
    not_before: datetime | None
    project_id: str
    workspace: str
    apply_user_id: str
    approver_ids: tuple[str, ...]
    package_name: str | None
    priority: Priority
    items: list[ItemResource]
    attempts: int
    labels: dict[str, str]
    note: str | None
    error: ErrorResource | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    version: int
    links: RequestLinks


class ReleaseRequestPage(TypedDict):
    """A page of release requests, newest first."""

    release_requests: list[ReleaseRequest]
    next_page_token: str


class WrongMember(TypedDict):
    """One thing that is wrong with a body; the pointer is a JSON pointer (RFC 6901)."""

    pointer: str
    code: str
    detail: str


class ProblemResource(TypedDict):
    """An error (RFC 9457); ``code`` is stable, ``detail`` is for people."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None
    code: str
    request_id: str | None
    errors: NotRequired[list[WrongMember]]
    vendor: NotRequired[VendorWords]
    release_request_id: NotRequired[str]
    pending_item_id: NotRequired[str]
    state: NotRequired[str]
    count: NotRequired[int]


class BatchResult(TypedDict):
    """What became of one release request of many: its resource, or a problem."""

    status: int
    replayed: NotRequired[bool]
    release_request: NotRequired[ReleaseRequest]
    problem: NotRequired[ProblemResource]


class BatchResults(TypedDict):
    """What became of many release requests, in their order."""

    results: list[BatchResult]


class EventResource(TypedDict):
    """An entry of a timeline."""

    seq: int
    at: datetime
    type: str
    state: RequestState
    batch_id: UUID | None
    attempt: int | None
    detail: dict[str, Any]


class EventPage(TypedDict):
    """A page of a timeline, oldest first."""

    events: list[EventResource]
    next_page_token: str


class MemberResource(TypedDict):
    """An item of a batch, and the release request that asked for it."""

    release_request_id: UUID
    pending_item_id: str
    state: ItemState
    attached: bool


class AttemptResource(TypedDict):
    """One vendor call for a batch."""

    number: int
    epoch: int
    state: str
    outcome: AttemptOutcome | None
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


class SelfLink(TypedDict):
    """Where a resource is."""

    self: str


class BatchRow(TypedDict):
    """A batch, as lists show it."""

    id: UUID
    state: BatchState
    project_id: str
    workspace: str
    apply_user_id: str
    approver_ids: tuple[str, ...]
    package_name: str
    release_package_id: str | None
    parent_id: UUID | None
    closed_by: ClosedBy
    item_count: int
    epoch: int
    worker: str | None
    lease_expires_at: datetime | None
    counted_attempts: int
    wait_reason: WaitReason | None
    not_before: datetime | None
    error: ErrorResource | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    links: SelfLink


class BatchResource(BatchRow):
    """A batch with its members and every call that was made for it."""

    members: list[MemberResource]
    attempts: list[AttemptResource]


class BatchPage(TypedDict):
    """A page of batches, newest first."""

    batches: list[BatchRow]
    next_page_token: str


class Health(TypedDict):
    """Whether the process lives."""

    status: str
    version: str


class HeldResource(TypedDict):
    """What holds work back: of a workspace, or of all where none is named."""

    project_id: str | None
    workspace: str | None
    reason: WaitReason
    #: Null for a limit of the moment.
    since: datetime | None
    #: Null for a pause, which has no known end.
    until: datetime | None


class Readiness(TypedDict, total=False):
    """Whether requests can be accepted; the details only with ``verbose``."""

    status: str
    version: str
    checks: dict[str, str]
    holds: list[HeldResource]
