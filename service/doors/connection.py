"""One connection of a caller: its deadlines, and problems for what is not HTTP.

aiohttp closes connections that are idle; here those are closed besides whose headers do not come, or come without end,
and those that do not take their answer.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from service.core.telemetry import LogEvent
from service.doors import http_problems, problems
from service.doors.connections import Admission, Connections
from service.doors.dressing import http_request_id_for, last_answer, raw_answer
from service.doors.problems import Problem

_SERVER_ERROR = 500
#: Of all headers of a request together; each has a bound of its own besides.
_MAX_HEADER_BYTES = 64 * 1024

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The seconds that a caller has."""

    #: From the first byte of a request to the end of its headers.
    headers: float = 20.0
    #: Without a request.
    idle: float = 75.0
    #: To take what was written for it.
    answer: float = 30.0
    #: To end a body that nobody reads; it should see its answer.
    unread_body: float = 2.0


class Connection(web.RequestHandler):
    """aiohttp's protocol of a connection, with deadlines."""

    __slots__ = (
        "_admission",
        "_connections",
        "_deadlines",
        "_header_bytes",
        "_is_waiting",
        "_late",
        "_stuck",
    )

    def __init__(
        self,
        server: web.Server,
        *,
        connections: Connections,
        deadlines: Deadlines,
        **options: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        super().__init__(
            server, keepalive_timeout=deadlines.idle, lingering_time=deadlines.unread_body, **options
        )
        self._connections = connections
        self._deadlines = deadlines
        self._admission = Admission.FULL
        self._is_waiting = True
        self._header_bytes = 0
        self._late: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    @property
    def is_for_health_only(self) -> bool:
        """Whether it was let in only to ask for health, and there is still no place."""
        return self._admission is not Admission.FULL and self._connections.is_crowded

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, where there is a place for it."""
        super().connection_made(transport)
        self._admission = self._connections.admit(self, now=self._loop.time())
        if self._admission is Admission.NONE:
            self.refuse(http_problems.too_many_connections())

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._connections.remove(self)
        self._end_headers()
        self._unstick()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a request whose headers are not complete with it has a deadline, and a bound."""
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._end_headers()
        elif data and self._is_waiting:
            self._await_headers(len(data))

    def begin(self) -> None:
        """Note that a request is about to be handled."""
        self._end_headers()
        self._connections.begin(self)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer; a connection whose request has not come to its end takes no other."""
        if not request.content.is_eof():
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self._is_waiting = request.content.is_eof()
        self._connections.end(self)
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = _SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what no handler saw: what is not HTTP, and faults of ours."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun, there cannot be another")
        if status >= _SERVER_ERROR:
            log.error(LogEvent.HTTP_FAILED, http_method=request.method, exc_info=exc)
            problem = problems.internal_error()
        else:
            problem = _problem_of(exc, message)
            log.debug(LogEvent.HTTP_SERVED, http_status=problem.status, reason=problem.detail)
        return last_answer(problem, instance="/", http_request_id=http_request_id_for(None))

    def pause_writing(self) -> None:
        """Wait for a caller that does not take its answer, not for ever."""
        super().pause_writing()
        self._stuck = self._loop.call_later(self._deadlines.answer, self._abort)

    def resume_writing(self) -> None:
        """Go on with a caller that takes its answer."""
        self._unstick()
        super().resume_writing()

    def _unstick(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def give_way(self, *, may_have_asked: bool) -> None:
        """Close, since another needs the place."""
        if may_have_asked:
            self.refuse(http_problems.too_many_connections())
        self.force_close()

    def refuse(self, problem: Problem) -> None:
        """Close with a problem; only where no answer is being written."""
        if self.transport is not None:
            self.transport.write(raw_answer(problem))
        self.force_close()

    def _await_headers(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > _MAX_HEADER_BYTES:
            self.refuse(http_problems.headers_too_large())
        elif self._late is None:
            self._late = self._loop.call_later(
                self._deadlines.headers, self.refuse, http_problems.headers_too_slow(self._deadlines.headers)
            )

    def _end_headers(self) -> None:
        self._is_waiting = False
        self._header_bytes = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _problem_of(error: BaseException | None, message: str | None) -> Problem:
    if isinstance(error, LineTooLong):
        return http_problems.headers_too_large()
    reason = (message or "").partition("\n")[0].rstrip(":")[:200]
    return http_problems.malformed_http(reason.encode("ascii", "backslashreplace").decode())
