"""Every route of the HTTP process, in one list: what is served, what is documented, and who may come in."""

from dataclasses import dataclass

from service.doors import (
    attention,
    audit,
    batches,
    documents,
    health,
    metrics,
    operations,
    rejects,
    request_actions,
    request_batches,
    request_lists,
    requests,
    workspaces,
)
from service.doors.auth import GuardedHandler, Scope
from service.doors.operation import OpenHandler, Operation


@dataclass(frozen=True, slots=True)
class Guarded:
    """A route for callers with a key that has one of the scopes; admin includes all."""

    method: str
    path: str
    operation: Operation[GuardedHandler]
    scopes: tuple[Scope, ...]
    #: Whether few of it are answered at a time, since each costs much.
    takes_turns: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """A route for everybody."""

    method: str
    path: str
    operation: Operation[OpenHandler]


Route = Guarded | Open

_READ = (Scope.READ,)
_SUBMIT = (Scope.SUBMIT,)
_SUBMIT_OR_OPERATE = (Scope.SUBMIT, Scope.OPERATE)
_OPERATE = (Scope.OPERATE,)
_ADMIN = (Scope.ADMIN,)
_WORKSPACE = "/v1/workspaces/{project_id}/{workspace}"

ROUTES: tuple[Route, ...] = (
    Guarded("POST", "/v1/release-requests", requests.create, _SUBMIT),
    Guarded("POST", "/v1/release-requests:batch", request_batches.create, _SUBMIT),
    Guarded("GET", "/v1/release-requests", request_lists.show, _READ, takes_turns=True),
    Guarded("GET", "/v1/release-requests/{id}", requests.show, _READ),
    Guarded("GET", "/v1/release-requests/{id}/events", requests.events, _READ),
    Guarded("POST", "/v1/release-requests/{id}/cancel", request_actions.cancel, _SUBMIT_OR_OPERATE),
    Guarded("POST", "/v1/release-requests/{id}/retry", request_actions.retry, _SUBMIT_OR_OPERATE),
    Guarded("POST", "/v1/operations", operations.create, _OPERATE),
    Guarded("GET", "/v1/operations/{id}", operations.show, _OPERATE),
    Guarded("POST", "/v1/operations/{id}/abort", operations.abort, _OPERATE),
    Guarded("GET", "/v1/batches", batches.listed, _READ, takes_turns=True),
    Guarded("GET", "/v1/batches/{id}", batches.show, _READ),
    Guarded("POST", "/v1/batches/{id}/resolve", batches.decide, _OPERATE),
    Guarded("GET", "/v1/attention", attention.listed, _READ, takes_turns=True),
    Guarded("GET", "/v1/rejects", rejects.listed, _READ, takes_turns=True),
    Guarded("GET", "/v1/workspaces", workspaces.index, _READ, takes_turns=True),
    Guarded("GET", _WORKSPACE, workspaces.show, _READ),
    Guarded("PUT", f"{_WORKSPACE}/settings", workspaces.settings, _OPERATE),
    Guarded("POST", f"{_WORKSPACE}/pause", workspaces.pause, _OPERATE),
    Guarded("POST", f"{_WORKSPACE}/resume", workspaces.resume, _OPERATE),
    Guarded("POST", f"{_WORKSPACE}/flush", workspaces.flush, _OPERATE),
    Guarded("GET", "/v1/audit", audit.show, _ADMIN),
    Guarded("GET", "/v1/audit-log", audit.log, _ADMIN, takes_turns=True),
    Open("GET", "/livez", health.live),
    Open("GET", "/readyz", health.ready),
    Open("GET", "/metrics", metrics.scrape),
    Open("GET", "/openapi.json", documents.openapi),
    Open("GET", "/docs", documents.docs),
    Open("GET", "/docs/assets/{name}", documents.asset),
    Open("GET", "/problems/{code}", documents.problem),
)
