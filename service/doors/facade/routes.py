"""The routes of the façade, and the way from a request of somebody to a call of a known caller."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from service.doors.auth import Scope
from service.doors.facade import changes, create, reads
from service.doors.facade.identity import ProvenCall
from service.doors.facade.keys import FACADE_AUTHENTICATOR
from service.doors.http import Handler
from service.doors.operation import Operation

FacadeHandler = Callable[[web.Request, ProvenCall], Awaitable[web.StreamResponse]]
_FACTORY = "/v2/{project_id}/factory"


@dataclass(frozen=True, slots=True)
class FacadeRoute:
    """A call of the vendor's API that is served here, for keys with the scope; admin includes all."""

    method: str
    path: str
    operation: Operation[FacadeHandler]
    scope: Scope


FACADE_ROUTES = (
    FacadeRoute("POST", f"{_FACTORY}/pending-items/package", create.create, Scope.SUBMIT),
    FacadeRoute("GET", f"{_FACTORY}/pending-items", reads.list_pending_items, Scope.READ),
    FacadeRoute("POST", f"{_FACTORY}/release-packages", reads.list_packages, Scope.READ),
    FacadeRoute("GET", f"{_FACTORY}/release-packages/{{package_id}}", reads.show_package, Scope.READ),
    FacadeRoute("GET", f"{_FACTORY}/workspaces/approval", reads.list_approvals, Scope.READ),
    FacadeRoute("POST", f"{_FACTORY}/release-packages/deploy", changes.deploy, Scope.OPERATE),
    FacadeRoute("POST", f"{_FACTORY}/release-packages/unpack", changes.unpack, Scope.OPERATE),
)


def handler_of(route: FacadeRoute) -> Handler:
    """Return the handler of a route: it knows its caller before it does anything."""

    async def handle(request: web.Request) -> web.StreamResponse:
        call = await request.app[FACADE_AUTHENTICATOR].authenticate(request, route.scope)
        return await route.operation.handle(request, call)

    return handle
