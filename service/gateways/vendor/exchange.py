"""Sends one HTTP request and reads its answer, within bounds; every transport error ends here as a value."""

import math
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from urllib.request import getproxies

import aiohttp

from service.core.proxies import proxy_for
from service.gateways.vendor.answer import Answer, NoAnswer, NoAnswerReason
from service.gateways.vendor.config import VendorConfig
from service.gateways.vendor.gate import GatedBody, WriteGate
from service.gateways.vendor.outgoing import OutgoingRequest


class Exchange:
    """Connections to the vendor; a request is written once at most, a redirect is never followed.

    Reads share kept connections. A gated request, a create, has one of its own: on a kept one the vendor's closing
    would leave it in doubt, and bytes that came unasked would be read as its answer.
    """

    def __init__(self, config: VendorConfig) -> None:
        self._config = config
        self._proxies = getproxies() if config.trust_env else {}
        self._kept: aiohttp.ClientSession | None = None
        self._single: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        keepalive = self._config.keepalive.total_seconds()
        limit = self._config.max_connections
        self._kept = _open_session(
            self._config, aiohttp.TCPConnector(keepalive_timeout=keepalive, limit=limit)
        )
        self._single = _open_session(self._config, aiohttp.TCPConnector(force_close=True, limit=limit))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sessions = (self._kept, self._single)
        self._kept = self._single = None
        for session in sessions:
            if session is not None:
                await session.close()

    async def send(self, request: OutgoingRequest, *, gate: WriteGate | None = None) -> Answer | NoAnswer:
        """Send a request once and read its answer.

        Args:
            request: What is written, byte for byte.
            gate: Has the last word before the write; shut when this returns.

        Raises:
            RuntimeError: The exchange is not open.
        """
        session = self._kept if gate is None else self._single
        if session is None:
            raise RuntimeError("the exchange is not open")
        try:
            return await self._answer_to(session, request, gate=gate)
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides what it means
            return no_answer(error)
        finally:
            if gate is not None:
                gate.shut()

    async def _answer_to(
        self, session: aiohttp.ClientSession, request: OutgoingRequest, *, gate: WriteGate | None
    ) -> Answer:
        async with session.request(
            request.method,
            request.url,
            data=request.body if gate is None else GatedBody(request.body, gate=gate),
            headers=request.headers,
            proxy=proxy_for(request.url, self._proxies),
            allow_redirects=False,
        ) as response:
            return await _read_answer(response, request.max_bytes)


def no_answer(error: Exception) -> NoAnswer:
    """Say in our words what went wrong in the transport."""
    return NoAnswer(reason=_reason_of(error), detail=f"{type(error).__name__}: {error}")


def _reason_of(error: Exception) -> NoAnswerReason:
    match error:
        case (
            aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | aiohttp.ClientHttpProxyError()
        ):
            return NoAnswerReason.UNREACHABLE
        case TimeoutError():
            return NoAnswerReason.TIMEOUT
        case _:
            return NoAnswerReason.CONNECTION_LOST


def _open_session(config: VendorConfig, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=_timeout_of(config),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


def _timeout_of(config: VendorConfig) -> aiohttp.ClientTimeout:
    # Above the threshold aiohttp rounds up to whole seconds; a call must not outlive its timeout.
    return aiohttp.ClientTimeout(
        total=config.call_timeout.total_seconds(),
        connect=config.connect_timeout.total_seconds(),
        sock_connect=config.connect_timeout.total_seconds(),
        sock_read=config.read_timeout.total_seconds(),
        ceil_threshold=math.inf,
    )


async def _read_answer(response: aiohttp.ClientResponse, max_bytes: int) -> Answer:
    body = bytearray()
    is_complete = False
    with suppress(aiohttp.ClientError, OSError):
        is_complete = await _read_into(body, response, max_bytes=max_bytes)
    if not is_complete:
        response.close()
    return Answer(
        status=response.status,
        headers={name.lower(): response.headers[name] for name in response.headers},
        body=bytes(body[:max_bytes]),
        is_truncated=not is_complete,
        received_at=datetime.now(UTC),
    )


async def _read_into(body: bytearray, response: aiohttp.ClientResponse, *, max_bytes: int) -> bool:
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            return False
    return True
