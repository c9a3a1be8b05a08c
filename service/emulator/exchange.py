"""Receives every request to the vendor's addresses and sees it through to its answer."""

import asyncio

from aiohttp import web
from multidict import CIMultiDict

from service.emulator.answers import Answer
from service.emulator.authentication import Caller
from service.emulator.delivery import deliver
from service.emulator.emulator import EMULATOR, CarriedOut, Emulator
from service.emulator.faults import FaultRule
from service.emulator.holds import HoldPoint
from service.emulator.vendor_call import Arrival, Received, VendorCall


async def answer_vendor_call(http_request: web.Request) -> web.StreamResponse:
    """Answer one call as the vendor would, or as the faults in force want it."""
    emulator = http_request.app[EMULATOR]
    arrival = Arrival.now()
    try:
        received = await _read(http_request)
    except ConnectionError:  # the client has gone
        return web.Response()
    call = emulator.open_call(received, arrival)
    match emulator.gateway.admit(call, emulator.faults):
        case Answer() as refusal:
            refused = CarriedOut(answer=refusal, is_executed=False)
            return await _send(http_request, call, carried_out=refused, rule=None)
        case Caller() as caller:
            return await _serve(http_request, call, caller)


async def _read(http_request: web.Request) -> Received:
    try:
        body: bytes | None = await http_request.read()
    except web.HTTPRequestEntityTooLarge:
        body = None
    headers = [(_make_legible(name), _make_legible(value)) for name, value in http_request.headers.items()]
    return Received(
        method=http_request.method,
        target=_make_legible(http_request.raw_path),
        headers=CIMultiDict(headers),
        body=body,
    )


def _make_legible(text: str) -> str:
    # aiohttp hands on bytes that are not UTF-8 as lone surrogates, which no JSON line can hold.
    return text if text.isascii() else text.encode(errors="replace").decode()


async def _serve(http_request: web.Request, call: VendorCall, caller: Caller) -> web.StreamResponse:
    emulator = http_request.app[EMULATOR]
    drawn = emulator.draw_fault(call, caller)
    carried_out = await emulator.carry_out(call, caller, drawn=drawn)
    await _wait_out_latency(emulator)
    rule = None if drawn is None else drawn.rule
    response = await _send(http_request, call, carried_out=carried_out, rule=rule)
    if emulator.hold.armed is HoldPoint.AFTER_ANSWER:
        await _finish(http_request, response)
        await emulator.pass_point(HoldPoint.AFTER_ANSWER, call)
    return response


async def _wait_out_latency(emulator: Emulator) -> None:
    if emulator.faults.latency_seconds:
        await asyncio.sleep(emulator.faults.latency_seconds)


async def _send(
    http_request: web.Request, call: VendorCall, *, carried_out: CarriedOut, rule: FaultRule | None
) -> web.StreamResponse:
    emulator = http_request.app[EMULATOR]
    return await deliver(
        http_request,
        carried_out.answer.stamped(call.request_id),
        rule=rule,
        end_call=lambda status: emulator.end_call(
            call, carried_out.answer, status=status, executed=carried_out.is_executed
        ),
    )


async def _finish(http_request: web.Request, response: web.StreamResponse) -> None:
    try:
        await response.prepare(http_request)
        await response.write_eof()
    except ConnectionError:
        return
