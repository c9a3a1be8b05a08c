"""The lines of the ledger file: everything that happened, in order, and nothing that can be derived."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Literal

from pydantic import Field

from service.emulator.faults import FaultName, Faults
from service.emulator.operations import Operation


class DeployStatus(IntEnum):
    """The vendor's integer states of a package; it documents no others."""

    TO_BE_REVIEWED = 1
    SUCCESS = 2
    FAILED = 3
    BEING_RELEASED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """A request was read."""

    index: int
    at: float
    started: float
    operation: Operation
    project_id: str
    workspace: str
    items: tuple[str, ...]
    package_name: str | None
    caller: str | None
    request_id: str
    traceparent: str | None = None
    kind: Literal["call_started"] = "call_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultFired:
    """A rule decided that a call meets its fault."""

    index: int
    fault: FaultName
    #: Position of the rule.
    rule: int
    kind: Literal["fault_fired"] = "fault_fired"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """The answer is about to leave, or the connection to close."""

    index: int
    ended: float
    #: None when the connection was dropped without an answer.
    status: int | None
    error_code: str | None
    #: Whether the service did what was asked, whatever the answer says.
    executed: bool
    kind: Literal["call_ended"] = "call_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageMade:
    """A create call took effect."""

    package_id: str
    call: int
    project_id: str
    workspace: str
    package_name: str
    apply_user_id: str
    items: tuple[str, ...]
    approver_ids: tuple[str, ...]
    at: float
    #: When the lists begin to show it, in Unix seconds.
    visible_at: float
    kind: Literal["package_made"] = "package_made"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageMarked:
    """A package was deployed, unpacked, or settled by a test."""

    package_id: str
    deploy_status: DeployStatus
    is_deleted: bool
    at: float
    by: str
    kind: Literal["package_marked"] = "package_marked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRegistered:
    """A developer submitted a version: it waits for release."""

    project_id: str
    workspace: str
    pending_item_id: str
    item_name: str
    submit_user_id: str
    task_type: int
    update_type: int
    at: float
    kind: Literal["item_registered"] = "item_registered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsAskedFor:
    """A create call named items that nobody had registered: where any item exists, they were pending before it."""

    project_id: str
    workspace: str
    items: tuple[str, ...]
    apply_user_id: str
    at: float
    kind: Literal["items_asked_for"] = "items_asked_for"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultsSet:
    """The faults were set; counts go on where the rules were not touched."""

    faults: Faults
    keeps_counts: bool
    kind: Literal["faults_set"] = "faults_set"


Event = Annotated[
    CallStarted
    | FaultFired
    | CallEnded
    | PackageMade
    | PackageMarked
    | ItemRegistered
    | ItemsAskedFor
    | FaultsSet,
    Field(discriminator="kind"),
]
