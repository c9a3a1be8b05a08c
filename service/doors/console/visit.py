"""A look at the console: who looks, in which language, and how a page is shown to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from jinja2 import Environment
from multidict import MultiDict

from service import __version__
from service.deps import Deps
from service.doors.auth import Caller, Scope
from service.doors.console.forms import form_token_of, read_form
from service.doors.console.words import LANGUAGES, Words, choose_language
from service.doors.keys import DEPS

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
TEMPLATES = web.AppKey("console_templates", Environment)
WORDS = web.AppKey("console_words", dict[str, Words])

LANGUAGE_COOKIE = "release_language"
SCHEME_COOKIE = "release_scheme"
NOTICE_COOKIE = "release_notice"
SCHEMES = ("auto", "light", "dark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A page that the navigation names."""

    path: str
    name: str
    #: Whether only admins may open it.
    is_for_admins: bool = False
    #: Whether only those who may see all workspaces may open it.
    needs_all: bool = False


SECTIONS: Sequence[Section] = (
    Section(path="/", name="overview"),
    Section(path="/requests", name="requests"),
    Section(path="/batches", name="batches"),
    Section(path="/attention", name="attention"),
    Section(path="/workspaces", name="workspaces"),
    Section(path="/workers", name="workers"),
    Section(path="/audit", name="audit", is_for_admins=True),
    Section(path="/keys", name="keys", is_for_admins=True, needs_all=True),
    Section(path="/about", name="about"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a browser."""

    request: web.Request
    #: None before the login.
    caller: Caller | None
    #: None without a session: before the login, and where nobody needs one.
    session_token: str | None = None

    @property
    def deps(self) -> Deps:
        """What the process uses."""
        return self.request.app[DEPS]

    @property
    def known_caller(self) -> Caller:
        """Who looks.

        Raises:
            AssertionError: the page is one for strangers.
        """
        if self.caller is None:
            raise AssertionError("a page that needs a caller is opened for callers only")
        return self.caller

    @property
    def visible(self) -> tuple[str, ...]:
        """The workspaces that may be seen, as LIKE patterns of Postgres."""
        return self.known_caller.visible

    @property
    def words(self) -> Words:
        """The texts in the language of who looks."""
        chosen = self.request.cookies.get(LANGUAGE_COOKIE)
        accepted = self.request.headers.get("Accept-Language", "")
        return self.request.app[WORDS][choose_language(chosen, accepted)]

    @property
    def form_token(self) -> str | None:
        """What a form of this session carries."""
        return None if self.session_token is None else form_token_of(self.session_token)

    def may(self, scope: Scope) -> bool:
        """Tell whether who looks has a scope; admin is every scope."""
        return self.caller is not None and bool(self.caller.scopes & {scope, Scope.ADMIN})

    async def read_form(self) -> MultiDict[str]:
        """Return the fields of the form that was sent.

        Raises:
            ProblemError: it is not a form of this page.
        """
        return await read_form(self.request, form_token=self.form_token)

    def render(self, template: str, *, status: int = 200, **values: Any) -> web.Response:  # noqa: ANN401 - a template takes anything
        """Show a page."""
        words = self.words
        text = self.request.app[TEMPLATES].get_template(template).render({**self._frame(words), **values})
        headers = {
            "Content-Security-Policy": POLICY,
            "Referrer-Policy": "same-origin",
            "Content-Language": words.language,
            "Vary": "Cookie, Accept-Language",
        }
        response = web.Response(text=text, status=status, headers=headers, content_type="text/html")
        if NOTICE_COOKIE in self.request.cookies:
            response.del_cookie(NOTICE_COOKIE, path="/")
        return response

    def _frame(self, words: Words) -> dict[str, Any]:
        """What every page shows around itself."""
        scheme = self.request.cookies.get(SCHEME_COOKIE, "auto")
        notice = self.request.cookies.get(NOTICE_COOKIE)
        return {
            "t": words,
            "caller": self.caller,
            "has_session": self.session_token is not None,
            "form_token": self.form_token or "",
            "sections": [one for one in SECTIONS if self._may_open(one)],
            "path": self.request.path,
            "here": self.request.path_qs,
            "may_operate": self.may(Scope.OPERATE),
            "may_submit": self.may(Scope.SUBMIT),
            "languages": LANGUAGES,
            "schemes": SCHEMES,
            "scheme": scheme if scheme in SCHEMES else "auto",
            "notice": words.texts.get(f"notice.{notice}") if notice else None,
            "version": __version__,
        }

    def _may_open(self, section: Section) -> bool:
        sees_all = self.caller is not None and self.caller.sees_all
        return (self.may(Scope.ADMIN) or not section.is_for_admins) and (sees_all or not section.needs_all)

    def go_to(self, path: str, *, notice: str | None = None) -> web.Response:
        """Send the browser to another page after a form (303), with a word of what was done."""
        response = web.Response(status=303, headers={"Location": path})
        if notice is not None:
            response.set_cookie(NOTICE_COOKIE, notice, max_age=30, path="/", httponly=True, samesite="Lax")
        return response
