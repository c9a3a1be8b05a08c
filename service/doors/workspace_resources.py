"""Workspaces as JSON."""

from datetime import datetime
from typing import Literal

# pydantic reads a TypedDict of typing itself only from Python 3.12 on.
from typing_extensions import TypedDict

from service.core.breakers import BreakerReason
from service.core.config import Settings
from service.core.model import WaitReason
from service.gateways.store.workspace_reading import OpenBreaker, WorkspaceView


class WorkspaceSettings(TypedDict):
    """What a workspace goes by; a rate or a number of calls at once of 0 is no limit of its own."""

    max_items: int
    quiet_seconds: float
    linger_seconds: float
    rate: float
    concurrency: int


class BreakerResource(TypedDict):
    """Whether calls are stopped since they would only fail; the rest is null where they are not."""

    state: Literal["open", "closed"]
    scope: Literal["workspace", "credential"] | None
    reason: BreakerReason | None
    since: datetime | None
    until: datetime | None


class HoldResource(TypedDict):
    """What holds the work of a workspace back; a pause has no known end."""

    reason: WaitReason
    until: datetime | None


class WorkspaceResource(TypedDict):
    """A workspace and how it stands."""

    project_id: str
    workspace: str
    waiting: int
    oldest_waiting_seconds: float | None
    paused: bool
    paused_at: datetime | None
    paused_reason: str | None
    settings: WorkspaceSettings
    breaker: BreakerResource
    hold: HoldResource | None


class WorkspacePage(TypedDict):
    """A page of workspaces, by project and name."""

    workspaces: list[WorkspaceResource]
    next_page_token: str


def workspace_resource(view: WorkspaceView, settings: Settings) -> WorkspaceResource:
    """Return a workspace as the contract shows it."""
    governance, oldest = view.governance, view.oldest_for
    effective = governance.own.filled(settings)
    return {
        "project_id": view.place.project_id,
        "workspace": view.place.workspace,
        "waiting": view.waiting,
        "oldest_waiting_seconds": None if oldest is None else round(oldest.total_seconds(), 3),
        "paused": governance.is_paused,
        "paused_at": governance.paused_at,
        "paused_reason": governance.paused_reason,
        "settings": {
            "max_items": effective.max_items,
            "quiet_seconds": effective.quiet_seconds,
            "linger_seconds": effective.linger_seconds,
            "rate": effective.rate,
            "concurrency": effective.concurrency,
        },
        "breaker": _breaker(view.breaker),
        "hold": _hold(view),
    }


def _breaker(breaker: OpenBreaker | None) -> BreakerResource:
    if breaker is None:
        return {"state": "closed", "scope": None, "reason": None, "since": None, "until": None}
    return {
        "state": "open",
        "scope": "credential" if breaker.is_of_credential else "workspace",
        "reason": breaker.reason,
        "since": breaker.since,
        "until": breaker.until,
    }


def _hold(view: WorkspaceView) -> HoldResource | None:
    if view.governance.is_paused:
        return {"reason": WaitReason.PAUSED, "until": None}
    return None if view.hold is None else {"reason": view.hold.reason, "until": view.hold.until}
