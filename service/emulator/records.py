"""What the emulator remembers of calls, packages and pending items, as it stands now."""

from dataclasses import dataclass, replace
from typing import assert_never

from service.emulator.events import (
    CallEnded,
    CallStarted,
    DeployStatus,
    ItemRegistered,
    ItemsAskedFor,
    PackageMade,
    PackageMarked,
)
from service.emulator.faults import FaultName
from service.emulator.operations import Operation

#: A package that was deployed over the API is being released for so long, then it is a success.
DEPLOY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call; ``ended`` is None while it runs, and for good when the emulator died in it."""

    index: int
    at: float
    started: float
    ended: float | None
    operation: Operation
    project_id: str
    workspace: str
    items: tuple[str, ...]
    package_name: str | None
    caller: str | None
    request_id: str
    traceparent: str | None
    status: int | None
    error_code: str | None
    executed: bool
    fault: FaultName | None

    @classmethod
    def from_event(cls, event: CallStarted) -> "Call":
        """Begin the record of a call."""
        return cls(
            index=event.index,
            at=event.at,
            started=event.started,
            ended=None,
            operation=event.operation,
            project_id=event.project_id,
            workspace=event.workspace,
            items=event.items,
            package_name=event.package_name,
            caller=event.caller,
            request_id=event.request_id,
            traceparent=event.traceparent,
            status=None,
            error_code=None,
            executed=False,
            fault=None,
        )

    def meet(self, fault: FaultName) -> "Call":
        """Note the fault."""
        return replace(self, fault=fault)

    def take_effect(self) -> "Call":
        """Note that the service did what was asked."""
        return replace(self, executed=True)

    def end(self, event: CallEnded) -> "Call":
        """Complete the record."""
        return replace(
            self,
            ended=event.ended,
            status=event.status,
            error_code=event.error_code,
            executed=self.executed or event.executed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One release package."""

    package_id: str
    package_name: str
    project_id: str
    workspace: str
    apply_user_id: str
    items: tuple[str, ...]
    approver_ids: tuple[str, ...]
    at: float
    visible_at: float
    call: int
    deploy_status: DeployStatus
    delete_flag: int
    deploy_user_id: str | None
    deploy_at: float | None

    @classmethod
    def from_event(cls, event: PackageMade) -> "Package":
        """Begin the record of a package: it waits for review."""
        return cls(
            package_id=event.package_id,
            package_name=event.package_name,
            project_id=event.project_id,
            workspace=event.workspace,
            apply_user_id=event.apply_user_id,
            items=event.items,
            approver_ids=event.approver_ids,
            at=event.at,
            visible_at=event.visible_at,
            call=event.call,
            deploy_status=DeployStatus.TO_BE_REVIEWED,
            delete_flag=0,
            deploy_user_id=None,
            deploy_at=None,
        )

    def mark(self, event: PackageMarked) -> "Package":
        """Take over a new state."""
        return replace(
            self,
            deploy_status=event.deploy_status,
            delete_flag=int(event.is_deleted),
            deploy_user_id=event.by,
            deploy_at=event.at,
        )

    def status_at(self, now: float) -> DeployStatus:
        """Tell the state at a moment in Unix seconds: a deployment ends by itself."""
        is_deploying = self.deploy_status is DeployStatus.BEING_RELEASED and self.deploy_at is not None
        if is_deploying and now >= (self.deploy_at or 0) + DEPLOY_SECONDS:
            return DeployStatus.SUCCESS
        return self.deploy_status


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingItem:
    """One submitted version of a job or script."""

    pending_item_id: str
    item_name: str
    submit_user_id: str
    #: 1 job, 2 script.
    task_type: int
    #: 1 added, 2 changed, 3 deleted.
    update_type: int
    at: float

    @classmethod
    def listed_by(cls, event: ItemRegistered | ItemsAskedFor) -> "list[PendingItem]":
        """Begin the records of what somebody registered, or asked for."""
        match event:
            case ItemRegistered():
                return [
                    cls(
                        pending_item_id=event.pending_item_id,
                        item_name=event.item_name,
                        submit_user_id=event.submit_user_id,
                        task_type=event.task_type,
                        update_type=event.update_type,
                        at=event.at,
                    )
                ]
            case ItemsAskedFor():
                return [
                    cls(
                        pending_item_id=item,
                        item_name=f"job_{item}",
                        submit_user_id=event.apply_user_id,
                        task_type=1,
                        update_type=1,
                        at=event.at,
                    )
                    for item in event.items
                ]
            case _:
                assert_never(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A pending item that is in more than one live package."""

    project_id: str
    workspace: str
    pending_item_id: str
    package_ids: tuple[str, ...]
