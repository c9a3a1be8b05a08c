"""A reverse proxy in front of the service, with the habits of real ones."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import aiohttp
from aiohttp import web

_NOT_PASSED_ON = {"Host", "Transfer-Encoding", "Content-Length", "Connection", "Content-Encoding"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """An answer of the intermediary's own, in place of the service's."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = "<html>from the intermediary</html>"
    #: Whether the service gets the call all the same.
    after_effect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A call that came through."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    at: float
    #: The port of the caller's connection.
    port: int


class Intermediary:
    """Passes HTTP on to ``upstream``, and misbehaves as it is told."""

    def __init__(self, upstream: str) -> None:
        self.url = ""
        self.calls: list[Seen] = []
        #: What the next calls are answered with, one each.
        self.script: list[Scripted] = []
        #: Seconds after which a call without an answer is cut.
        self.cuts_after: float | None = None
        #: Whether queries and preferences are lost.
        self.forgets_waits = False
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen on a port of its own."""
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{site.port}"
            try:
                yield self
            finally:
                await runner.cleanup()

    @property
    def waits(self) -> list[str | None]:
        """The ``?wait=`` of each read."""
        return [call.query.get("wait") for call in self.calls if call.method == "GET"]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls.append(
            Seen(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                headers=dict(request.headers),
                at=time.monotonic(),
                port=_port_of(request),
            )
        )
        scripted = self.script.pop(0) if self.script else None
        if scripted is None or scripted.after_effect:
            answer = await self._passed_on(request)
        if scripted is not None:
            headers = {"Content-Type": "text/html", **scripted.headers}
            return web.Response(status=scripted.status, headers=headers, body=scripted.body.encode())
        return answer

    async def _passed_on(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self._session is not None
        query = {
            name: text for name, text in request.query.items() if name != "wait" or not self.forgets_waits
        }
        try:
            async with (
                asyncio.timeout(self.cuts_after),
                self._session.request(
                    request.method,
                    self._upstream + request.path,
                    params=query,
                    data=await request.read(),
                    headers=_kept(request.headers),
                ) as response,
            ):
                body = await response.read()
                return web.Response(status=response.status, headers=_kept(response.headers), body=body)
        except TimeoutError:
            assert request.transport is not None
            request.transport.abort()
            raise
        except aiohttp.ClientError:
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")


def _port_of(request: web.BaseRequest) -> int:
    assert request.transport is not None
    port: int = request.transport.get_extra_info("peername")[1]
    return port


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in headers.items() if name.title() not in _NOT_PASSED_ON}
