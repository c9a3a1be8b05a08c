"""Callers that wait for an answer: for how long, whether they are still there, and whether they still may."""

from datetime import timedelta

from aiohttp import web

from service.doors.auth import Scope
from service.doors.keys import AUTHENTICATOR
from service.flow.status import Patience


def patience_of(request: web.Request, wait: timedelta) -> Patience:
    """Wait as long as the caller wants, and not for one that has gone: aiohttp takes its transport away."""
    return Patience(within=wait, is_there=lambda: request.transport is not None)


async def check_again(request: web.Request, *scopes: Scope) -> None:
    """Check the key of a caller that has waited: it may have been revoked meanwhile.

    Raises:
        ProblemError: it was.
    """
    await request.app[AUTHENTICATOR].recognise(request, scopes)
