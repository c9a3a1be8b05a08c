"""The server in front of the application: it makes connections with deadlines, and looks at requests before any route.

The framing of requests is strict: what two servers could understand in two ways is refused.
"""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDictProxy

from service.doors import http_problems
from service.doors.connection import Connection, Deadlines
from service.doors.connections import Capacity, Connections
from service.doors.dressing import http_request_id_for, last_answer
from service.doors.http import EXPECTED
from service.doors.pacing import Pacer
from service.doors.problems import Problem

#: Served however many connections there are.
_HEALTH = frozenset({"/livez", "/readyz", "/metrics"})
_GOOD_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]*(:[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{0,5})?")
_CONTINUE = ("100-continue",)
_OPTIONS: dict[str, Any] = {"access_log": None, "auto_decompress": False}

_VERSIONS = frozenset({HttpVersion10, HttpVersion11})
#: The version of a request whose answer cannot have it; empty for one that can.
_OTHER_VERSION = web.RequestKey("other_version", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many connections there may be, and the time that each has."""

    capacity: Capacity = field(default_factory=lambda: Capacity(connections=2_500))
    deadlines: Deadlines = field(default_factory=Deadlines)


class Server(web.Server):
    """Makes a connection with deadlines for each caller, and hands its requests to the application."""

    def __init__(self, application: web.Server, bounds: Bounds) -> None:
        super().__init__(self._serve, request_factory=self._begin)
        self._application = application
        self._deadlines = bounds.deadlines
        self._open = Connections(bounds.capacity)
        self._pacer = Pacer()

    def __call__(self) -> Connection:
        """Make the protocol of a new connection."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            connections=self._open,
            deadlines=self._deadlines,
            **_OPTIONS,
        )

    def _begin(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        """Make a request; one without ``Expect``, or aiohttp asks for the body before it is known who sends it."""
        if isinstance(protocol, Connection):
            protocol.begin()
        expected: tuple[str, ...] = ()
        other_version = ""
        if "Expect" in message.headers:
            headers = message.headers.copy()
            expected = tuple(value.lower() for value in headers.popall("Expect"))
            message = message._replace(headers=CIMultiDictProxy(headers))
        if message.version not in _VERSIONS:
            other_version = f"HTTP/{message.version.major}.{message.version.minor}"
            message = message._replace(version=HttpVersion10, should_close=True)
        request = self._application.request_factory(message, payload, protocol, writer, task)
        request[EXPECTED], request[_OTHER_VERSION] = expected, other_version
        return request

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        problem = find_fault(request)
        if problem is None:
            if request.path not in _HEALTH:
                await self._pacer.begin()
            return await self._application.request_handler(request)
        path = request.rel_url.raw_path
        http_request_id = http_request_id_for(request.headers.get("X-Request-Id"))
        return last_answer(
            problem, instance=path if path.startswith("/") else "/", http_request_id=http_request_id
        )


class Runner(web.AppRunner):
    """Runs an application behind our server."""

    __slots__ = ("_bounds",)

    def __init__(self, app: web.Application, bounds: Bounds, *, shutdown_timeout: float) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout, handle_signals=False)
        self._bounds = bounds

    async def _make_server(self) -> web.Server:
        return Server(await super()._make_server(), self._bounds)


def find_fault(request: web.BaseRequest) -> Problem | None:
    """Return what is wrong with a request before anything of it is looked at."""
    if request[_OTHER_VERSION]:
        return http_problems.malformed_http(f"Expected HTTP/1.1 or HTTP/1.0; given {request[_OTHER_VERSION]}")
    if "Transfer-Encoding" in request.headers and not _is_chunked(request):
        return http_problems.malformed_http(
            "Expected Transfer-Encoding: chunked and HTTP/1.1, or Content-Length"
        )
    if not _GOOD_HOST.fullmatch(request.headers.get("Host", "")):
        return http_problems.malformed_http("Expected the name of a host in Host")
    if request[EXPECTED] not in ((), _CONTINUE):
        return http_problems.expectation_failed()
    if _is_for_health_only(request) and request.path not in _HEALTH:
        return http_problems.too_many_connections()
    return None


def _is_chunked(request: web.BaseRequest) -> bool:
    codings = [value.lower() for value in request.headers.getall("Transfer-Encoding")]
    return codings == ["chunked"] and request.version != HttpVersion10


def _is_for_health_only(request: web.BaseRequest) -> bool:
    connection = request.protocol
    return isinstance(connection, Connection) and connection.is_for_health_only
