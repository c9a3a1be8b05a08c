"""Lets operators settle how a workspace works: its settings, a pause, a flush.

Takes: what an operator wants of a workspace that it may see.
Leaves: the workspace's row and an entry of the audit trail, in one transaction; then, doorbells for all its keys.
If it dies here: all of it is in force, or nothing; doorbells that are not rung are rung by the sweep.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from service.core.audit_trail import AuditEntry
from service.core.errors import QueueUnavailable
from service.core.place import Place
from service.core.telemetry import LogEvent
from service.core.workspaces import Governance, OwnSettings
from service.deps import Deps
from service.gateways.store import audit_log, workspace_reading, workspaces
from service.gateways.store.database import Connection
from service.gateways.store.workspace_reading import WorkspaceView

#: The sweep rings for the rest.
_MOST_RINGS = 1_000
_RINGS_AT_ONCE = 16

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an operator wants of a workspace, and who that is."""

    place: Place
    #: The workspaces that the operator may see.
    visible: tuple[str, ...]
    actor: str
    reason: str | None
    http_request_id: str


async def pause(deps: Deps, order: Order) -> WorkspaceView | None:
    """Send nothing more of a workspace until it is resumed; calls under way end. None where it is not visible."""

    def change(settled: Governance, now: datetime) -> Governance:
        return settled.paused(now, order.reason)

    return await _carry_out(deps, order, "workspace.paused", change)


async def resume(deps: Deps, order: Order) -> WorkspaceView | None:
    """End a pause, with half the rate in the first second. None where the workspace is not visible."""

    def change(settled: Governance, now: datetime) -> Governance:
        return settled.resumed(now)

    return await _carry_out(deps, order, "workspace.resumed", change)


async def flush(deps: Deps, order: Order) -> WorkspaceView | None:
    """Close the windows over all that is due in a workspace now. None where it is not visible."""

    def change(settled: Governance, now: datetime) -> Governance:
        return settled.flushed(now)

    return await _carry_out(deps, order, "workspace.flushed", change)


async def change_settings(
    deps: Deps, order: Order, changed: Callable[[OwnSettings], OwnSettings]
) -> WorkspaceView | None:
    """Change what a workspace has of its own. None where it is not visible."""

    def change(settled: Governance, _now: datetime) -> Governance:
        return settled.with_own(changed(settled.own))

    return await _carry_out(deps, order, "workspace.settings_changed", change)


async def _carry_out(
    deps: Deps, order: Order, action: str, change: Callable[[Governance, datetime], Governance]
) -> WorkspaceView | None:
    async def work(connection: Connection) -> Governance | None:
        locked = await workspaces.lock_workspace(connection, order.place, visible=order.visible)
        if locked is None:
            return None
        before, now = locked
        after = change(before, now)
        await _keep(connection, order.place, before, after)
        await audit_log.record(connection, _entry_of(order, action, before, after))
        return after

    settled = await deps.database.transact(work)
    if settled is None:
        return None
    log.info(LogEvent.WORKSPACE_CHANGED, action=action, workspace=str(order.place), reason=order.reason)
    if not settled.is_paused:
        await ring_for(deps, order.place)
    return await show(deps, order.place)


async def _keep(connection: Connection, place: Place, before: Governance, after: Governance) -> None:
    if after == before:
        return
    await workspaces.keep_workspace(connection, place, after)
    if not after.is_paused:
        await workspaces.lift_holds(connection, place)


def _entry_of(order: Order, action: str, before: Governance, after: Governance) -> AuditEntry:
    return AuditEntry(
        actor=order.actor,
        action=action,
        target=str(order.place),
        project_id=order.place.project_id,
        workspace=order.place.workspace,
        reason=order.reason,
        before=before.described(),
        after=after.described(),
        http_request_id=order.http_request_id,
    )


async def ring_for(deps: Deps, place: Place) -> None:
    """Have every key of a workspace looked at now, those that have waited longest first."""
    keys = await deps.database.read(
        lambda connection: workspaces.keys_with_work(connection, place, limit=_MOST_RINGS)
    )
    for start in range(0, len(keys), _RINGS_AT_ONCE):
        some = keys[start : start + _RINGS_AT_ONCE]
        try:
            await asyncio.gather(*(deps.doorbells.ring_at_once(key) for key in some))
        except QueueUnavailable as error:
            log.warning(LogEvent.BELL_LOST, keys=len(keys), reason=str(error))
            return


async def show(deps: Deps, place: Place) -> WorkspaceView:
    """Return how a workspace stands."""
    (view,) = await deps.database.read(
        lambda connection: workspace_reading.describe_workspaces(connection, [place])
    )
    return view


async def list_workspaces(
    deps: Deps, *, visible: tuple[str, ...], after: Place | None, limit: int, part: str = ""
) -> list[WorkspaceView]:
    """Return how some of the visible workspaces stand, in order, from behind the given one.

    ``part`` is in the names of all of them, ``project/workspace``, whatever its case.
    """

    async def work(connection: Connection) -> list[WorkspaceView]:
        places = await workspace_reading.list_places(
            connection, visible=visible, after=after, limit=limit, part=part
        )
        return await workspace_reading.describe_workspaces(connection, places)

    return await deps.database.read(work)
