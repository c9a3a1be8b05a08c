"""Who is logged in: a cookie stands for an API key, in every process, until it is over or the key has ended."""

import secrets
from datetime import timedelta
from uuid import UUID

from aiohttp import web

from service.core.api_key import digest_of
from service.doors.auth import Caller, caller_of
from service.doors.key_finder import KeyFinder
from service.gateways.store import console_sessions
from service.gateways.store.database import Connection, Database

COOKIE = "release_session"
LASTS = timedelta(hours=12)
_TOKEN_BYTES = 32
_LONGEST_TOKEN = 100


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found = KeyFinder(self._look_up)

    async def open(self, caller: Caller) -> str:
        """Begin a session of a caller with an API key; return its token.

        Raises:
            DatabaseUnavailable: it is not known to have begun.
        """
        token, key_id = secrets.token_urlsafe(_TOKEN_BYTES), UUID(caller.name)

        async def work(connection: Connection) -> None:
            await console_sessions.add_session(connection, digest_of(token), key_id=key_id, lasts=LASTS)

        await self._database.transact(work)
        return token

    async def find(self, token: str) -> Caller | None:
        """Return whose session a token is, or None.

        Raises:
            ProblemError: too many tokens that are not known are shown at once.
            DatabaseUnavailable: it cannot be looked up.
        """
        return await self._found.find(digest_of(token)) if len(token) <= _LONGEST_TOKEN else None

    def forget(self) -> None:
        """Look every session up anew: a key may have ended."""
        self._found.forget()

    async def end(self, token: str) -> None:
        """End a session."""

        async def work(connection: Connection) -> None:
            await console_sessions.end_session(connection, digest_of(token))

        await self._database.transact(work)
        self._found.forget()

    async def _look_up(self, digest: bytes) -> Caller | None:
        key = await self._database.read(lambda connection: console_sessions.find_session(connection, digest))
        return None if key is None else caller_of(key)


def set_cookie(request: web.Request, response: web.StreamResponse, token: str) -> None:
    """Hand the token to the browser, where no script and no other site gets at it."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(LASTS.total_seconds()),
        path="/",
        httponly=True,
        samesite="Lax",
        secure=is_encrypted(request),
    )


def is_encrypted(request: web.Request) -> bool:
    """Tell whether the browser speaks TLS, to us or to the proxy in front."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"
