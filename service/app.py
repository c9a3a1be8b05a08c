"""Builds the HTTP process: what is opened for it, the edge around every request, and the routes."""

import time
from collections.abc import AsyncIterator

from aiohttp import web

from service.core.config import Settings
from service.core.credentials import Credentials
from service.deps import open_deps
from service.doors.auth import Authenticator
from service.doors.console.routes import add_console, open_console
from service.doors.facade.opening import open_facade
from service.doors.facade.routes import FACADE_ROUTES, handler_of
from service.doors.http import MAX_BODY_BYTES, Handler, edge
from service.doors.keys import (
    AUTHENTICATOR,
    DEPS,
    INTAKE,
    LARGE_BODY_TURNS,
    LIST_TURNS,
    ODD_LINES,
    OPENAPI,
    SCRAPER,
)
from service.doors.line_budget import LineBudget
from service.doors.openapi import openapi_document
from service.doors.operation import checked
from service.doors.render import to_json
from service.doors.routes import ROUTES, Guarded, Open, Route
from service.doors.scraper import Scraper
from service.doors.tracing import tracing_around
from service.doors.turns import Turns
from service.flow.intake import open_intake


def build_app(settings: Settings, credentials: Credentials | None = None) -> web.Application:
    """Put the HTTP application together; nothing is opened before it starts."""
    app = web.Application(
        middlewares=[*tracing_around(settings.tracing), edge], client_max_size=MAX_BODY_BYTES
    )

    async def open_all(app: web.Application) -> AsyncIterator[None]:
        async with open_deps(settings) as deps, open_intake(deps) as intake:
            app[DEPS], app[INTAKE], app[SCRAPER] = deps, intake, Scraper(deps)
            app[AUTHENTICATOR] = Authenticator(deps.database, settings)
            deps.changes.call_at_revocations(app[AUTHENTICATOR].forget_keys)
            async with open_console(app, deps), open_facade(app, credentials):
                yield

    app[ODD_LINES] = LineBudget()
    app[LIST_TURNS] = Turns(at_once=2, most_waiting=100)
    app[LARGE_BODY_TURNS] = Turns(at_once=64, most_waiting=1_000)
    app[OPENAPI] = to_json(openapi_document([*ROUTES, *FACADE_ROUTES]))
    app.cleanup_ctx.append(open_all)
    app.on_shutdown.append(end_waits)
    for route in ROUTES:
        for method in _methods_of(route):
            app.router.add_route(method, route.path, _handler_of(route))
    for call in FACADE_ROUTES:
        app.router.add_route(call.method, call.path, handler_of(call))
    add_console(app)
    return app


async def end_waits(app: web.Application) -> None:
    """Let every waiting caller have its answer now, so that the process can end."""
    say_farewell(app)


def say_farewell(app: web.Application) -> None:
    """Let nobody wait any longer, and have every connection closed with its next answer."""
    app[DEPS].changes.close()


def _methods_of(route: Route) -> tuple[str, ...]:
    """What answers GET answers HEAD (RFC 9110, 9.1)."""
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)


def _handler_of(route: Route) -> Handler:
    match route:
        case Open(operation=operation):
            return checked(operation)
        case Guarded():
            return _guarded(route)


def _guarded(route: Guarded) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        authenticator = request.app[AUTHENTICATOR]
        caller = await authenticator.authenticate(request, route.scopes, now=time.monotonic())
        route.operation.check_parameters(request)
        if not route.takes_turns:
            return await route.operation.handle(request, caller)
        async with request.app[LIST_TURNS].turn():
            return await route.operation.handle(request, caller)

    return handle
