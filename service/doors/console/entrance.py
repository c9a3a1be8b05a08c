"""The way in: who may open which page, the login, and what is shown where something is wrong."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from aiohttp import web

from service.core.errors import Unavailable
from service.doors import problems
from service.doors.auth import ANYBODY, Caller, Scope, check_scope
from service.doors.console.forms import read_form
from service.doors.console.sessions import COOKIE, Sessions, set_cookie
from service.doors.console.visit import LANGUAGE_COOKIE, SCHEME_COOKIE, SCHEMES, Visit
from service.doors.console.words import LANGUAGES
from service.doors.http import Handler
from service.doors.keys import AUTHENTICATOR, DEPS, LIST_TURNS
from service.doors.problems import Problem, ProblemError

SESSIONS = web.AppKey("console_sessions", Sessions)
_A_YEAR_SECONDS = 365 * 86_400
_LOGIN = "/login"
PageHandler = Callable[[Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the console, or what one of its forms does, for callers with one of the scopes."""

    method: str
    path: str
    handle: PageHandler
    scopes: tuple[Scope, ...]
    #: Whether few of it are answered at a time, since each costs much.
    takes_turns: bool = False
    #: Whether it tells of every workspace, and is for callers who may see them all.
    needs_all: bool = False


def handler_of(page: Page) -> Handler:
    """Return the handler of a page: it knows who looks, and shows what is wrong as a page."""

    async def handle(request: web.Request) -> web.StreamResponse:
        visit = Visit(request=request, caller=None)
        try:
            visit = await _enter(request)
            return await _open(page, visit)
        except ProblemError as error:
            return _show_problem(visit, error.problem)
        except Unavailable as error:
            return _show_problem(visit, problems.unavailable_by(error))

    return handle


async def _enter(request: web.Request) -> Visit:
    authenticator = request.app[AUTHENTICATOR]
    if authenticator.is_off:
        return Visit(request=request, caller=ANYBODY)
    token = request.cookies.get(COOKIE)
    caller = None if token is None else await request.app[SESSIONS].find(token)
    return Visit(request=request, caller=caller, session_token=None if caller is None else token)


async def _open(page: Page, visit: Visit) -> web.StreamResponse:
    if visit.caller is None:
        return _send_to_login(visit)
    check_scope(visit.caller, *page.scopes)
    if page.needs_all and not visit.caller.sees_all:
        raise ProblemError(problems.forbidden("a key for all workspaces: this tells of every one"))
    if not page.takes_turns:
        return await page.handle(visit)
    async with visit.request.app[LIST_TURNS].turn():
        return await page.handle(visit)


def _send_to_login(visit: Visit) -> web.Response:
    """Have the browser log in; what a script has asked for is sent there as a whole page."""
    request = visit.request
    there = f"{_LOGIN}?next={quote(request.path_qs, safe='')}" if request.method == "GET" else _LOGIN
    if "HX-Request" in request.headers:
        return web.Response(status=200, headers={"HX-Redirect": _LOGIN})
    return visit.go_to(there)


def _show_problem(visit: Visit, problem: Problem) -> web.Response:
    kept_for = visit.request.app[DEPS].settings.retention
    response = visit.render("problem.html", status=problem.status, problem=problem, kept_for=kept_for)
    response.headers.update(problem.headers)
    return response


async def show_login(request: web.Request) -> web.StreamResponse:
    """Ask for an API key."""
    visit = await _enter(request)
    goal = _local_path(request.query.get("next", "/"))
    if visit.caller is not None:
        return visit.go_to(goal)
    return visit.render("login.html", next=goal, problem=None)


async def log_in(request: web.Request) -> web.StreamResponse:
    """Begin a session for an API key that may read."""
    visit = Visit(request=request, caller=None)
    goal = "/"
    try:
        fields = await read_form(request, form_token=None)
        goal = _local_path(fields.get("next", "/"))
        caller = await _caller_of(request, fields.get("api_key", "").strip())
        token = await request.app[SESSIONS].open(caller)
    except ProblemError as error:
        return _ask_again(visit, error.problem, goal)
    except Unavailable as error:
        return _ask_again(visit, problems.unavailable_by(error), goal)
    response = visit.go_to(goal)
    set_cookie(request, response, token)
    return response


async def _caller_of(request: web.Request, api_key: str) -> Caller:
    caller = await request.app[AUTHENTICATOR].find(api_key)
    if caller is None:
        raise ProblemError(problems.unauthorized())
    check_scope(caller, Scope.READ)
    return caller


def _ask_again(visit: Visit, problem: Problem, goal: str) -> web.Response:
    response = visit.render("login.html", status=problem.status, next=goal, problem=problem)
    response.headers.update(problem.headers)
    return response


async def log_out(visit: Visit) -> web.StreamResponse:
    """End the session."""
    await visit.read_form()
    if visit.session_token is not None:
        await visit.request.app[SESSIONS].end(visit.session_token)
    response = visit.go_to(_LOGIN, notice="logged_out")
    response.del_cookie(COOKIE, path="/")
    return response


async def prefer(visit: Visit) -> web.StreamResponse:
    """Keep the language and the colours that who looks likes, in this browser."""
    fields = await visit.read_form()
    response = visit.go_to(_local_path(fields.get("next", "/")))
    chosen = {LANGUAGE_COOKIE: fields.get("language"), SCHEME_COOKIE: fields.get("scheme")}
    for cookie, value in chosen.items():
        if value is not None and (value in LANGUAGES or value in SCHEMES):
            response.set_cookie(
                cookie, value, max_age=_A_YEAR_SECONDS, path="/", httponly=True, samesite="Lax"
            )
    return response


def _local_path(text: str) -> str:
    """Return a path of this site as it is, and the first page for whatever else it is."""
    parts = urlsplit(text)
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.netloc
    return text if is_local and text.isprintable() else "/"
