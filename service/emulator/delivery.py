"""How an answer leaves: whole, slowly, by half, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from service.emulator.answers import Answer
from service.emulator.faults import FaultName, FaultRule

#: Told right before the last byte leaves, so that a client's next call never seems to overlap.
EndCall = Callable[[int | None], None]

_SLOW_PIECES = 20
_HUGE_BYTES = 100 * 1024 * 1024
_HUGE_PIECE = b" " * (1024 * 1024)
_GONE_CHECK_SECONDS = 0.02


async def deliver(
    http_request: web.Request, answer: Answer, *, rule: FaultRule | None, end_call: EndCall
) -> web.StreamResponse:
    """Send the answer as the fault wants it; the response may have left already when it is returned."""
    try:
        return await _deliver(http_request, answer, rule=rule, end_call=end_call)
    except ConnectionError:  # the client has gone
        return web.Response()


async def _deliver(
    http_request: web.Request, answer: Answer, *, rule: FaultRule | None, end_call: EndCall
) -> web.StreamResponse:
    match None if rule is None else rule.fault:
        case FaultName.DROP_BEFORE | FaultName.DROP_AFTER | FaultName.LATE_EFFECT:
            return _drop(http_request, end_call)
        case FaultName.HANG_AFTER:
            return await _hang(http_request, end_call)
        case FaultName.HALF_ANSWER:
            return await _send_half(http_request, answer, end_call)
        case FaultName.SLOW_BODY:
            pieces = _drip(answer.body, 0.0 if rule is None else rule.delay_seconds)
            return await _stream(http_request, answer, pieces=pieces, end_call=end_call)
        case FaultName.HUGE_200:
            return await _stream(http_request, answer, pieces=_swell(answer.body), end_call=end_call)
        case _:
            end_call(answer.status)
            return web.Response(status=answer.status, body=answer.body, headers=_headers(answer))


def _headers(answer: Answer) -> dict[str, str]:
    return {"Content-Type": answer.content_type, **answer.headers}


def _drop(http_request: web.Request, end_call: EndCall) -> web.StreamResponse:
    end_call(None)
    if http_request.transport is not None:
        http_request.transport.abort()
    return web.Response()


async def _hang(http_request: web.Request, end_call: EndCall) -> web.StreamResponse:
    try:
        while http_request.transport is not None and not http_request.transport.is_closing():  # noqa: ASYNC110 - aiohttp has no event for a client that goes
            await asyncio.sleep(_GONE_CHECK_SECONDS)
    finally:
        end_call(None)
    return web.Response()


async def _send_half(http_request: web.Request, answer: Answer, end_call: EndCall) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    try:
        await response.prepare(http_request)
    finally:
        end_call(answer.status)
    await response.write(answer.body[: len(answer.body) // 2])
    if http_request.transport is not None:
        http_request.transport.close()
    return response


async def _stream(
    http_request: web.Request, answer: Answer, *, pieces: AsyncIterator[bytes], end_call: EndCall
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    try:
        await response.prepare(http_request)
        async for piece in pieces:
            await response.write(piece)
    finally:
        end_call(answer.status)
    await response.write(answer.body[-1:])
    return response


async def _drip(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    """Yield all but the last byte, spread over the time."""
    size = max(1, len(body) // _SLOW_PIECES)
    starts = range(0, max(len(body) - 1, 0), size)
    for start in starts:
        await asyncio.sleep(seconds / len(starts))
        yield body[start : min(start + size, len(body) - 1)]


async def _swell(body: bytes) -> AsyncIterator[bytes]:
    """Yield all but the last byte, after 100 MB of white space that JSON allows."""
    for _ in range(_HUGE_BYTES // len(_HUGE_PIECE)):
        yield _HUGE_PIECE
    yield body[:-1]
