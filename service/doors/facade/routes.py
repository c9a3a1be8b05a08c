"""The routes of the façade, and the way from a request of somebody to a call of a known caller."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from service.doors.auth import Scope
from service.doors.facade import changes, create, reads
from service.doors.facade.identity import ProvenCall
from service.doors.facade.keys import FACADE_AUTHENTICATOR
from service.doors.http import Handler

_FACTORY = "/v2/{project_id}/factory"


@dataclass(frozen=True, slots=True, kw_only=True)
class FacadeRoute:
    """A call of the vendor's API that is served here."""

    method: str
    path: str
    handle: Callable[[web.Request, ProvenCall], Awaitable[web.StreamResponse]]
    scope: Scope


FACADE_ROUTES = (
    FacadeRoute(
        method="POST", path=f"{_FACTORY}/pending-items/package", handle=create.create, scope=Scope.SUBMIT
    ),
    FacadeRoute(
        method="GET", path=f"{_FACTORY}/pending-items", handle=reads.list_pending_items, scope=Scope.READ
    ),
    FacadeRoute(
        method="POST", path=f"{_FACTORY}/release-packages", handle=reads.list_packages, scope=Scope.READ
    ),
    FacadeRoute(
        method="GET",
        path=f"{_FACTORY}/release-packages/{{package_id}}",
        handle=reads.show_package,
        scope=Scope.READ,
    ),
    FacadeRoute(
        method="GET", path=f"{_FACTORY}/workspaces/approval", handle=reads.list_approvals, scope=Scope.READ
    ),
    FacadeRoute(
        method="POST",
        path=f"{_FACTORY}/release-packages/deploy",
        handle=changes.deploy,
        scope=Scope.OPERATE,
    ),
    FacadeRoute(
        method="POST",
        path=f"{_FACTORY}/release-packages/unpack",
        handle=changes.unpack,
        scope=Scope.OPERATE,
    ),
)


def handler_of(route: FacadeRoute) -> Handler:
    """Return the handler of a route: it knows its caller before it does anything."""

    async def handle(request: web.Request) -> web.StreamResponse:
        call = await request.app[FACADE_AUTHENTICATOR].authenticate(request, route.scope)
        return await route.handle(request, call)

    return handle
