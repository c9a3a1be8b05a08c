"""Release requests and what belongs to them, as the service shows them.

States are plain texts: those of docs/states.md, and whatever a newer service may add.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.client.errors import ReleaseError
from service.client.reading import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorWords(Resource):
    """The vendor's answer, untouched."""

    status: int | None
    error_code: str | None
    error_msg: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Resource):
    """Why something was not released; ``code`` is the service's and stable."""

    code: str
    message: str
    retryable: bool
    vendor: VendorWords | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(Resource):
    """A pending item of a release request."""

    pending_item_id: str
    state: str
    batch_id: str | None
    package_name: str | None
    release_package_id: str | None
    error: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest(Resource):
    """A release request and where it stands; ``done`` is true where its state will not change by itself."""

    id: str
    state: str
    done: bool
    wait_reason: str | None
    not_before: datetime | None
    project_id: str
    workspace: str
    apply_user_id: str
    approver_ids: tuple[str, ...]
    package_name: str | None
    priority: str
    items: tuple[Item, ...]
    attempts: int
    labels: Mapping[str, str]
    note: str | None
    error: Failure | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    version: int

    @property
    def is_released(self) -> bool:
        """Whether every item is released."""
        return self.state == "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Resource):
    """An entry of a timeline."""

    seq: int
    at: datetime
    type: str
    state: str
    batch_id: str | None
    attempt: int | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Resource):
    """What became of one release request of many: it, or a problem."""

    #: The HTTP status that it would have had alone.
    status: int
    #: Whether its key had been used before with the same body.
    replayed: bool | None
    release_request: ReleaseRequest | None
    problem: Mapping[str, Any] | None

    @property
    def error(self) -> ReleaseError | None:
        """Why it was refused; None where it was accepted."""
        return None if self.problem is None else ReleaseError(self.problem)
