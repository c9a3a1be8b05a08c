"""Who calls, and what the key of a caller allows."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from service.core.api_key import digest_of
from service.core.config import Settings
from service.doors import problems
from service.doors.key_finder import KeyFinder
from service.doors.key_rates import KeyRates
from service.doors.problems import ProblemError
from service.gateways.store import api_keys
from service.gateways.store.api_keys import ApiKey
from service.gateways.store.database import Database

_KEY_FORM = re.compile(r"rel_[A-Za-z0-9_-]{43}")
EVERYBODY = "everybody"


class Scope(StrEnum):
    """What a key may be used for; admin includes all."""

    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: the name that owns idempotency keys, and the workspaces of the key."""

    name: str
    #: For people: the name that the key was given, and its id.
    actor: str
    #: ``project/workspace``, where ``*`` stands for any text.
    patterns: tuple[str, ...]
    #: The applicants of the key; empty for anybody.
    apply_user_ids: tuple[str, ...] = ()
    scopes: frozenset[Scope]
    #: What the patterns say, ready to be asked of each request.
    places: tuple[re.Pattern[str], ...]

    @property
    def owner(self) -> str | None:
        """Whose requests the caller may cancel and retry: its own, or with the scope to operate everybody's: None."""
        return None if self.scopes & {Scope.OPERATE, Scope.ADMIN} else self.name

    @property
    def visible(self) -> tuple[str, ...]:
        """The workspaces as LIKE patterns of Postgres."""
        return tuple(like_pattern(pattern) for pattern in self.patterns)

    @property
    def sees_all(self) -> bool:
        """Whether the key is for all workspaces."""
        return "*" in self.patterns

    def may_use(self, project_id: str, workspace: str) -> bool:
        """Tell whether a workspace is among those of the key."""
        place = f"{project_id}/{workspace}"
        return any(form.fullmatch(place) for form in self.places)

    def may_apply_for(self, apply_user_id: str) -> bool:
        """Tell whether the key may hand requests in for an applicant."""
        return not self.apply_user_ids or apply_user_id in self.apply_user_ids


ANYBODY = Caller(
    name=EVERYBODY,
    actor=EVERYBODY,
    patterns=("*",),
    scopes=frozenset(Scope),
    places=(re.compile(".*"),),
)
GuardedHandler = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]


class Authenticator:
    """Tells who calls by the key that is shown, and how often a key is used."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._keys = KeyFinder(self._look_up)
        self._rates = KeyRates(settings.key_rate)
        #: Whether everybody may do everything.
        self.is_off = settings.auth == "off"

    async def authenticate(self, request: web.Request, scopes: tuple[Scope, ...], *, now: float) -> Caller:
        """Return the caller, who needs one of the scopes, and count a use of the key.

        Raises:
            ProblemError: no live key, one without such a scope, or one that is used too often.
        """
        caller = await self.recognise(request, scopes)
        self.count_use(caller, now=now)
        return caller

    def forget_keys(self) -> None:
        """Look every key up anew: one of them may have ended."""
        self._keys.forget()

    def count_use(self, caller: Caller, *, now: float) -> None:
        """Count a use of a caller's key.

        Raises:
            ProblemError: it is used too often.
        """
        wait = 0.0 if self.is_off else self._rates.take(caller.name, now=now)
        if wait:
            raise ProblemError(problems.rate_limited(wait, what="this API key"))

    async def recognise(self, request: web.Request, scopes: tuple[Scope, ...]) -> Caller:
        """Return the caller, who needs one of the scopes.

        Raises:
            ProblemError: no live key, or one without such a scope.
        """
        if self.is_off:
            return ANYBODY
        caller = await self.find(_shown_key(request) or "")
        if caller is None:
            raise ProblemError(problems.unauthorized())
        check_scope(caller, *scopes)
        return caller

    async def find(self, shown: str) -> Caller | None:
        """Return whose live API key a text is, or None.

        Raises:
            ProblemError: too many keys that are not known are shown at once.
            DatabaseUnavailable: it cannot be looked up.
        """
        return await self._keys.find(digest_of(shown)) if _KEY_FORM.fullmatch(shown) else None

    async def _look_up(self, digest: bytes) -> Caller | None:
        key = await self._database.read(lambda connection: api_keys.find_live_key(connection, digest))
        return None if key is None else caller_of(key)


def check_scope(caller: Caller, *scopes: Scope) -> None:
    """Refuse a caller whose key has none of the scopes; admin is every scope.

    Raises:
        ProblemError: it has none.
    """
    if caller.scopes.isdisjoint(scopes) and Scope.ADMIN not in caller.scopes:
        raise ProblemError(problems.forbidden(f"a key with the scope {' or '.join(scopes)}"))


def caller_of(key: ApiKey) -> Caller:
    """Return whom a key stands for."""
    return Caller(
        name=str(key.key_id),
        actor=f"{key.name} ({key.key_id})",
        patterns=key.workspaces,
        scopes=frozenset(Scope(scope) for scope in key.scopes),
        apply_user_ids=key.apply_user_ids,
        places=tuple(form_of(pattern) for pattern in key.workspaces),
    )


def _shown_key(request: web.Request) -> str | None:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials:
        return credentials.strip()
    return request.headers.get("X-Auth-Token")


def like_pattern(pattern: str) -> str:
    r"""Turn a workspace pattern of a key (``project/workspace`` with ``*``) into a LIKE pattern of Postgres."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def form_of(pattern: str) -> re.Pattern[str]:
    """Return the form of the places ``project/workspace`` that a key's pattern means; ``*`` stands for any text."""
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")))
