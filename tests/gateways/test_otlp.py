"""The tracer of OpenTelemetry in this process, where processes of their own would show it late."""

import json

import pytest

from service.core.tracing import SpanKind
from service.gateways.tracing import open_tracer
from tests.support.logs import caught_log
from tests.support.otlp import otlp_receiver, tracing_to
from tests.support.waiting import eventually

CALLER = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01"


async def test_more_spans_than_can_be_sent_are_lost_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a receiver that does not answer, spans beyond the queue are gone; whoever opens one waits for nothing."""
    async with otlp_receiver() as receiver:
        bounds = {"OTEL_BSP_MAX_QUEUE_SIZE": "2", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1"}
        for name, value in {**tracing_to(receiver.url), **bounds}.items():
            monkeypatch.setenv(name, value)
        receiver.answers.clear()
        with caught_log(log_format="json") as written:
            async with open_tracer("otlp", instance="this") as tracer:
                for _ in range(20):
                    with tracer.open(SpanKind.INTERNAL, "one of many", facts={}):
                        pass
                await eventually(written.getvalue)
                receiver.answers.set()

    (line,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert (line["event"], line["reason"]) == ("traces.lost", "there are more spans than can be sent")
    assert 0 < len(receiver.spans) < 20


async def test_a_disabled_sdk_lets_the_callers_trace_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_SDK_DISABLED what is done for a request is done in its caller's trace, as without a tracer."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    async with open_tracer("otlp", instance="this") as tracer:
        with tracer.open(SpanKind.SERVER, "with a caller", parents=(CALLER,), facts={}) as span:
            assert span.traceparent == CALLER
        with tracer.open(SpanKind.SERVER, "without", facts={}) as span:
            assert span.traceparent is None
            assert span.log_fields == {}
