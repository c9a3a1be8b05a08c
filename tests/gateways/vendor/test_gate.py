"""The last look before a write."""

import time

import pytest
from yarl import URL

from service.gateways.vendor.exchange import Exchange
from service.gateways.vendor.gate import WriteGate, WriteRefusedError
from service.gateways.vendor.outgoing import OutgoingRequest
from tests.gateways.vendor.samples import config, in_a_minute


def test_a_gate_lets_a_request_through_in_time() -> None:
    """Before the deadline a request may be written, and the gate knows when it was."""
    gate = WriteGate(in_a_minute())
    gate.pass_through()

    assert gate.sent_at is not None
    assert not gate.is_expired


def test_a_gate_refuses_a_late_request() -> None:
    """From the deadline on nothing may be written, and the gate says that it was too late."""
    gate = WriteGate(time.monotonic())

    with pytest.raises(WriteRefusedError):
        gate.pass_through()

    assert gate.sent_at is None
    assert gate.is_expired


def test_a_shut_gate_stays_shut() -> None:
    """After the call was judged nothing may be written, though there is time: the judgement would be wrong."""
    gate = WriteGate(in_a_minute())
    gate.shut()

    with pytest.raises(WriteRefusedError):
        gate.pass_through()

    assert gate.sent_at is None
    assert not gate.is_expired


async def test_a_gate_is_shut_when_its_call_returns() -> None:
    """Whatever a call came to, its gate is shut before anybody judges it."""
    gate = WriteGate(in_a_minute())
    nowhere = OutgoingRequest(
        method="POST", url=URL("http://127.0.0.1:1/"), headers={}, body=b"{}", max_bytes=100
    )
    async with Exchange(config("http://127.0.0.1:1")) as exchange:
        await exchange.send(nowhere, gate=gate)

    with pytest.raises(WriteRefusedError):
        gate.pass_through()
