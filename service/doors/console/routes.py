"""Every page of the console, in one list, and what the pages need of the application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from service.deps import Deps
from service.doors.auth import Scope
from service.doors.console import (
    about,
    attention,
    audit,
    batches,
    deciding,
    keys,
    live,
    operations,
    overview,
    requests,
    ticked,
    workers,
    workspaces,
)
from service.doors.console.assets import show_asset
from service.doors.console.checks import CHECKS, open_checks
from service.doors.console.entrance import SESSIONS, Page, handler_of, log_in, log_out, prefer, show_login
from service.doors.console.rendering import open_templates
from service.doors.console.sessions import Sessions
from service.doors.console.visit import TEMPLATES, WORDS
from service.doors.console.words import load_words

_READ = (Scope.READ,)
_ACT = (Scope.SUBMIT, Scope.OPERATE)
_OPERATE = (Scope.OPERATE,)
_ADMIN = (Scope.ADMIN,)

PAGES: tuple[Page, ...] = (
    Page("GET", "/", overview.show, _READ, takes_turns=True),
    Page("GET", "/requests", requests.index, _READ, takes_turns=True),
    Page("GET", "/requests/{id}", requests.show, _READ),
    Page("POST", "/requests/{id}/cancel", requests.cancel, _ACT),
    Page("POST", "/requests/{id}/retry", requests.retry, _ACT),
    Page("GET", "/batches", batches.index, _READ, takes_turns=True),
    Page("GET", "/batches/{id}", batches.show, _READ),
    Page("POST", "/batches/{id}/resolve", deciding.decide, _OPERATE),
    Page("GET", "/attention", attention.index, _READ, takes_turns=True),
    Page("GET", "/workspaces", workspaces.index, _READ, takes_turns=True),
    Page("GET", "/workspaces/{project_id}/{workspace}", workspaces.show, _READ),
    Page("POST", "/workspaces/{project_id}/{workspace}/settings", workspaces.change_settings, _OPERATE),
    Page("POST", "/workspaces/{project_id}/{workspace}/pause", workspaces.pause, _OPERATE),
    Page("POST", "/workspaces/{project_id}/{workspace}/resume", workspaces.resume, _OPERATE),
    Page("POST", "/workspaces/{project_id}/{workspace}/flush", workspaces.flush, _OPERATE),
    Page("GET", "/workers", workers.index, _READ, takes_turns=True),
    Page("GET", "/requests/ticked", ticked.preview, _ACT),
    Page("POST", "/requests/ticked", ticked.act, _ACT),
    Page("GET", "/requests/ticked/result", ticked.result, _ACT),
    Page("GET", "/operations", operations.index, _OPERATE),
    Page("GET", "/operations/new", operations.preview, _OPERATE, takes_turns=True),
    Page("POST", "/operations", operations.start, _OPERATE, takes_turns=True),
    Page("GET", "/operations/{id}", operations.show, _OPERATE),
    Page("POST", "/operations/{id}/abort", operations.abort, _OPERATE),
    Page("GET", "/audit", audit.trail, _ADMIN, takes_turns=True),
    Page("GET", "/audit/report", audit.check, _ADMIN, needs_all=True),
    Page("POST", "/audit/report", audit.check_again, _ADMIN, needs_all=True),
    Page("GET", "/keys", keys.index, _ADMIN, needs_all=True),
    Page("GET", "/keys/new", keys.ask, _ADMIN, needs_all=True),
    Page("POST", "/keys", keys.create, _ADMIN, needs_all=True),
    Page("GET", "/keys/{id}/revoke", keys.ask_to_revoke, _ADMIN, needs_all=True),
    Page("POST", "/keys/{id}/revoke", keys.revoke, _ADMIN, needs_all=True),
    Page("GET", "/about", about.show, _READ),
    Page("GET", "/console/changes", live.stream_changes, _READ),
    Page("POST", "/console/preferences", prefer, _READ),
    Page("POST", "/logout", log_out, _READ),
)


def add_console(app: web.Application) -> None:
    """Add the pages to the application."""
    app[TEMPLATES], app[WORDS] = open_templates(), load_words()
    app.router.add_get("/console/assets/{name}", show_asset)
    app.router.add_get("/login", show_login)
    app.router.add_post("/login", log_in)
    for page in PAGES:
        app.router.add_route(page.method, page.path, handler_of(page))


@asynccontextmanager
async def open_console(app: web.Application, deps: Deps) -> AsyncIterator[None]:
    """Let people log in, and out when their key ends; their audits end with the block."""
    app[SESSIONS] = Sessions(deps.database)
    deps.changes.call_at_revocations(app[SESSIONS].forget)
    async with open_checks(deps) as app[CHECKS]:
        yield
