"""Tells open pages that something has changed, so that they show themselves anew."""

import asyncio
from contextlib import suppress

from aiohttp import web

from service.core.errors import Unavailable
from service.doors.console.entrance import SESSIONS
from service.doors.console.visit import Visit
from service.doors.event_stream import EVENT_STREAM
from service.doors.http import IS_PATIENT, set_headers
from service.doors.problems import ProblemError
from service.gateways.store.changes import is_set_within

#: Ages, limits and workers move on without a notice.
_AT_LEAST_EVERY_SECONDS = 5.0
_AT_MOST_EVERY_SECONDS = 1.0
_CHANGED = b"event: changed\ndata: \n\n"


async def stream_changes(visit: Visit) -> web.StreamResponse:
    """Send a word whenever a request has changed, once a second at most, and now and then without one."""
    request = visit.request
    request[IS_PATIENT] = True
    response = web.StreamResponse(headers={"Content-Type": EVENT_STREAM, "X-Accel-Buffering": "no"})
    set_headers(request, response)
    await response.prepare(request)
    with suppress(ConnectionError, ProblemError, Unavailable):
        await _send(visit, response)
    return response


async def _send(visit: Visit, response: web.StreamResponse) -> None:
    changes = visit.deps.changes
    async with changes.watch_all() as changed:
        changed.set()
        while not changes.is_closing and await _is_still_welcome(visit):
            await is_set_within(changed, _AT_LEAST_EVERY_SECONDS)
            changed.clear()
            await response.write(_CHANGED)
            await asyncio.sleep(_AT_MOST_EVERY_SECONDS)
    await response.write_eof()


async def _is_still_welcome(visit: Visit) -> bool:
    if visit.request.transport is None:
        return False
    return (
        visit.session_token is None or await visit.request.app[SESSIONS].find(visit.session_token) is not None
    )
