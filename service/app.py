"""Builds the HTTP process: the edge around every request, and all routes in one list."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from service.core.config import Settings
from service.deps import open_deps
from service.doors import audit, batches, health, requests
from service.doors.auth import Authenticator, GuardedHandler, Scope
from service.doors.http import Handler, edge
from service.doors.keys import AUTHENTICATOR, DEPS, INTAKE
from service.doors.operation import OpenHandler, Operation, checked
from service.flow.intake import open_intake

#: Longest body of a request.
MAX_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A route for callers with a key."""

    method: str
    path: str
    operation: Operation[GuardedHandler]
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A route for everybody."""

    method: str
    path: str
    operation: Operation[OpenHandler]


ROUTES: tuple[Guarded | Open, ...] = (
    Guarded(method="POST", path="/v1/release-requests", operation=requests.create, scope=Scope.SUBMIT),
    Guarded(method="GET", path="/v1/release-requests/{id}", operation=requests.show, scope=Scope.READ),
    Guarded(
        method="GET", path="/v1/release-requests/{id}/events", operation=requests.events, scope=Scope.READ
    ),
    Guarded(method="GET", path="/v1/batches/{id}", operation=batches.show, scope=Scope.READ),
    Guarded(method="GET", path="/v1/audit", operation=audit.show, scope=Scope.ADMIN),
    Guarded(method="GET", path="/v1/audit-log", operation=audit.log, scope=Scope.ADMIN),
    Open(method="GET", path="/livez", operation=health.live),
    Open(method="GET", path="/readyz", operation=health.ready),
)


def build_app(settings: Settings) -> web.Application:
    """Put the HTTP application together; nothing is opened before it starts."""
    app = web.Application(middlewares=[edge], client_max_size=MAX_BODY_BYTES)

    async def open_all(app: web.Application) -> AsyncIterator[None]:
        async with open_deps(settings) as deps, open_intake(deps) as intake:
            app[DEPS], app[INTAKE] = deps, intake
            app[AUTHENTICATOR] = Authenticator(deps.database, is_off=settings.auth == "off")
            yield

    app.cleanup_ctx.append(open_all)
    app.on_shutdown.append(end_waits)
    for route in ROUTES:
        for method in _methods_of(route):
            app.router.add_route(method, route.path, _handler_of(route))
    return app


async def end_waits(app: web.Application) -> None:
    """Let every waiting caller have its answer now, so that the process can end."""
    say_farewell(app)


def say_farewell(app: web.Application) -> None:
    """Let nobody wait any longer, and have every connection closed with its next answer."""
    app[DEPS].changes.close()


def _methods_of(route: Guarded | Open) -> tuple[str, ...]:
    """What answers GET answers HEAD (RFC 9110, 9.1)."""
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)


def _handler_of(route: Guarded | Open) -> Handler:
    match route:
        case Open(operation=operation):
            return checked(operation)
        case Guarded():
            return _guarded(route)


def _guarded(route: Guarded) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        authenticator = request.app[AUTHENTICATOR]
        caller = await authenticator.authenticate(request, route.scope, now=time.monotonic())
        route.operation.check_query(request)
        return await route.operation.handle(request, caller)

    return handle
