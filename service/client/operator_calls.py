"""The client's calls for operators and admins."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

from service.client.base import Caller, page_after_page, path_of, query_of
from service.client.operating_records import (
    AttentionEntry,
    Audit,
    AuditEntry,
    Batch,
    BatchRow,
    Operation,
    OperationPreview,
    Reject,
    Workspace,
)
from service.client.request_calls import filter_query
from service.client.retries import Call
from service.core.place import Place

_BATCHES = "/v1/batches"
_OPERATIONS = "/v1/operations"
_WORKSPACES = "/v1/workspaces"


class OperatorCalls(Caller):
    """Workspaces, batches, what needs attention, and the same done to many requests.

    A workspace is named ``PROJECT/WORKSPACE``. All raise ``ReleaseError`` where the service refuses or does not answer.
    """

    async def workspaces(self) -> AsyncGenerator[Workspace, None]:
        """Yield the workspaces and how they stand, by project and name."""
        async for row in page_after_page(self._transport, _WORKSPACES, ()):
            yield self._read(Workspace, row)

    async def workspace(self, place: str) -> Workspace:
        """Return a workspace and how it stands."""
        return await self._get(Workspace, _path_of(place))

    async def pause(self, place: str, reason: str | None = None) -> Workspace:
        """Send nothing of a workspace; requests are still accepted."""
        return await self._act(Workspace, _path_of(place, "pause"), {"reason": reason})

    async def resume(self, place: str, reason: str | None = None) -> Workspace:
        """End the pause of a workspace."""
        return await self._act(Workspace, _path_of(place, "resume"), {"reason": reason})

    async def flush(self, place: str, reason: str | None = None) -> Workspace:
        """Close the open windows of a workspace, so that what waits in them is sent."""
        return await self._act(Workspace, _path_of(place, "flush"), {"reason": reason})

    async def configure(
        self, place: str, settings: Mapping[str, float | None], reason: str | None = None
    ) -> Workspace:
        """Change settings of a workspace; None is back to the setting of the deployment."""
        body = orjson.dumps({**settings, **({} if reason is None else {"reason": reason})})
        call = Call(method="PUT", path=_path_of(place, "settings"), body=body)
        return self._read(Workspace, await self._transport.ask_json(call))

    async def attention(self) -> AsyncGenerator[AttentionEntry, None]:
        """Yield the batches that wait for an operator, those that wait longest first."""
        async for row in page_after_page(self._transport, "/v1/attention", ()):
            yield self._read(AttentionEntry, row)

    async def resolve(
        self, batch_id: str, *, decision: str, reason: str, release_package_id: str | None = None
    ) -> Batch:
        """Decide about a batch that needs attention, and return it.

        It is sent once: after an answer that was lost, look at the batch. ``resend`` makes a second package if the
        vendor had made the first one.

        Args:
            batch_id: The batch.
            decision: ``released``, ``resend`` or ``rejected``.
            reason: Why, for the audit trail.
            release_package_id: Required with ``released``: the vendor's id of the package.
        """
        members = {"decision": decision, "reason": reason, "release_package_id": release_package_id}
        return await self._act(Batch, path_of(_BATCHES, batch_id, "resolve"), members, is_repeatable=False)

    async def batches(
        self, *, project_id: str | None = None, workspace: str | None = None, state: str | None = None
    ) -> AsyncGenerator[BatchRow, None]:
        """Yield the batches that match all filters, newest first."""
        query = query_of({"project_id": project_id, "workspace": workspace, "state": state})
        async for row in page_after_page(self._transport, _BATCHES, query):
            yield self._read(BatchRow, row)

    async def batch(self, batch_id: str) -> Batch:
        """Return a batch with its members and every call that was made for it."""
        return await self._get(Batch, path_of(_BATCHES, batch_id))

    async def preview(self, action: str, filters: Mapping[str, Any]) -> OperationPreview:
        """Return what an operation would act on; nothing is changed.

        Args:
            action: ``cancel`` or ``retry``.
            filters: Those of ``list``, at least one.
        """
        members = {"action": action, "filter": dict(filter_query(filters))}
        return await self._act(OperationPreview, _OPERATIONS, members)

    async def execute(
        self, action: str, filters: Mapping[str, Any], *, expect: int, reason: str
    ) -> Operation:
        """Cancel or retry every release request that matches, and return the operation, which goes on.

        It is sent once: after an answer that was lost, preview it again.

        Args:
            action: ``cancel`` or ``retry``.
            filters: Those of ``list``, at least one.
            expect: The count that the preview has shown.
            reason: Why, for the timelines and the audit trail.
        """
        members = {
            "action": action,
            "filter": dict(filter_query(filters)),
            "execute": True,
            "expect": expect,
            "reason": reason,
        }
        return await self._act(Operation, _OPERATIONS, members, is_repeatable=False)

    async def operation(self, operation_id: str) -> Operation:
        """Return an operation and how far it has come."""
        return await self._get(Operation, path_of(_OPERATIONS, operation_id))

    async def abort(self, operation_id: str, reason: str | None = None) -> Operation:
        """Stop an operation that runs; what it has done stays done."""
        path = path_of(_OPERATIONS, operation_id, "abort")
        return await self._act(Operation, path, {"reason": reason}, is_repeatable=False)

    async def rejects(self) -> AsyncGenerator[Reject, None]:
        """Yield what the queue door has refused, newest first."""
        async for row in page_after_page(self._transport, "/v1/rejects", ()):
            yield self._read(Reject, row)

    async def audit(self) -> Audit:
        """Have the data audited now."""
        return await self._get(Audit, "/v1/audit")

    async def audit_log(
        self, *, action: str | None = None, target: str | None = None
    ) -> AsyncGenerator[AuditEntry, None]:
        """Yield who changed what, when and why, newest first."""
        query = query_of({"action": action, "target": target})
        async for row in page_after_page(self._transport, "/v1/audit-log", query):
            yield self._read(AuditEntry, row)


def _path_of(place: str, *action: str) -> str:
    found = Place.read(*place.split("/"))
    if found is None:
        raise ValueError(f"expected a workspace as PROJECT/WORKSPACE; given {place!r}")
    return path_of(_WORKSPACES, found.project_id, found.workspace, *action)
