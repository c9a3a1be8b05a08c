"""A timeline as it grows: server-sent events (WHATWG HTML, 9.2), from behind the last one that the caller has seen."""

import re
from contextlib import aclosing, suppress
from datetime import timedelta
from uuid import UUID

from aiohttp import web

from service.core.errors import Unavailable
from service.core.model import Event
from service.doors import problems
from service.doors.auth import Caller, Scope
from service.doors.http import set_headers
from service.doors.keys import DEPS
from service.doors.operation import Parameter
from service.doors.problems import ProblemError
from service.doors.render import event_resource, to_json
from service.doors.waiting import check_again
from service.flow import status

EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID = Parameter(
    name="Last-Event-ID",
    place="header",
    description="The `seq` of the last event that the caller has seen, for a stream.",
    schema={"type": "string", "pattern": "^[0-9]{1,9}$", "maxLength": 9},
)
#: Proxies end connections on which nothing moves.
_QUIET = timedelta(seconds=15)
_RECONNECT_MS = 1_000
_SEQ = re.compile(r"[0-9]{1,9}")


async def stream(request: web.Request, caller: Caller, request_id: UUID, *, after: int) -> web.StreamResponse:
    """Send the events of a release request behind ``after`` as they come, until it is done.

    A caller that comes again with the id of the last one gets 204, which tells it to stay away.

    Raises:
        ProblemError: the caller sees no such request.
    """
    found = await status.find_version(request.app[DEPS], request_id, caller.visible)
    if found is None:
        kept_for = request.app[DEPS].settings.retention
        raise ProblemError(problems.missing("release request", request_id, kept_for=kept_for))
    version, state = found
    if state.is_done and after >= version:
        return web.Response(status=204)
    response = web.StreamResponse(headers={"Content-Type": EVENT_STREAM, "X-Accel-Buffering": "no"})
    set_headers(request, response)
    await response.prepare(request)
    with suppress(ConnectionError, ProblemError, Unavailable):
        await _send(request, response, caller, request_id, after=after)
    return response


async def _send(
    request: web.Request, response: web.StreamResponse, caller: Caller, request_id: UUID, *, after: int
) -> None:
    """Write events until the end; whoever is cut off comes again with the last id."""
    await response.write(f"retry: {_RECONNECT_MS}\n\n".encode())
    following = status.follow_events(
        request.app[DEPS], request_id, visible=caller.visible, after=after, quiet=_QUIET
    )
    async with aclosing(following):
        async for events in following:
            await check_again(request, Scope.READ)
            await response.write(b"".join(_lines(event) for event in events) or b": nothing new\n\n")
    await response.write_eof()


def _lines(event: Event) -> bytes:
    head = f"id: {event.seq}\nevent: {event.type}\ndata: ".encode()
    return head + to_json(event_resource(event)) + b"\n\n"


def read_last_event_id(request: web.Request) -> int:
    """Return the ``seq`` of the last event that the caller has seen, and 0 where it does not say.

    Raises:
        ProblemError: it is no ``seq``.
    """
    given = request.headers.get("Last-Event-ID", "0")
    if _SEQ.fullmatch(given) is None:
        raise ProblemError(
            problems.invalid_parameter(
                f"Expected Last-Event-ID to be the seq of an event; given {given[:40]!r}."
            )
        )
    return int(given)
