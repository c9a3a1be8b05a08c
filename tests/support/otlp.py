"""A receiver of traces: takes OTLP over HTTP as a collector does, and keeps what it was sent."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.waiting import eventually

KINDS = {
    Span.SPAN_KIND_SERVER: "server",
    Span.SPAN_KIND_CONSUMER: "consumer",
    Span.SPAN_KIND_INTERNAL: "internal",
    Span.SPAN_KIND_CLIENT: "client",
}


@dataclass(frozen=True, kw_only=True)
class SeenSpan:
    """A span as it came, with ids as a ``traceparent`` has them."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    #: Empty for the first of a trace.
    parent_id: str
    facts: Mapping[str, object]
    #: Ids of the spans that it has links to.
    links: frozenset[str]
    is_failed: bool
    resource: Mapping[str, object]

    @property
    def traceparent(self) -> str:
        """The trace context of the span, sampled, in a trace whose id is not known to be random."""
        return f"00-{self.trace_id}-{self.span_id}-01"


class OtlpReceiver:
    """What was received so far."""

    def __init__(self) -> None:
        self.url = ""
        self.raw = b""
        self.spans: list[SeenSpan] = []
        #: Cleared, nobody is answered.
        self.answers = asyncio.Event()
        #: Set when somebody came.
        self.was_asked = asyncio.Event()
        self.headers: list[Mapping[str, str]] = []

    def of(self, trace_id: str) -> list[SeenSpan]:
        """Return the spans of a trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    async def wait_for(self, kind: str, name: str, *, trace_id: str, within: float = 20.0) -> SeenSpan:
        """Wait for a span of this kind and name in a trace."""

        def found() -> SeenSpan | None:
            spans = (span for span in self.of(trace_id) if (span.kind, span.name) == (kind, name))
            return next(spans, None)

        what = f"{kind} {name} in {trace_id}"
        span = await eventually(found, within=within, what=what)
        assert span is not None
        return span

    async def take(self, request: web.Request) -> web.Response:
        """Take an export, as OTLP says: an answer with an empty message."""
        body = await request.read()
        self.was_asked.set()
        await self.answers.wait()
        self.raw += body
        self.headers.append(dict(request.headers))
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = facts_of(resource_spans.resource.attributes)
            for scope_spans in resource_spans.scope_spans:
                self.spans += [seen(span, resource) for span in scope_spans.spans]
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[OtlpReceiver]:
    """Run a receiver that answers."""
    receiver = OtlpReceiver()
    receiver.answers.set()
    app = web.Application()
    app.router.add_post("/v1/traces", receiver.take)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"http://127.0.0.1:{site.port}"
        yield receiver
    finally:
        await runner.cleanup()


def tracing_to(url: str) -> dict[str, str]:
    """Return the settings of a process that sends its traces there, soon."""
    return {
        "RELEASE_TRACING": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }


def seen(span: Span, resource: Mapping[str, object]) -> SeenSpan:
    return SeenSpan(
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        facts=facts_of(span.attributes),
        links=frozenset(link.span_id.hex() for link in span.links),
        is_failed=bool(span.status.code),
        resource=resource,
    )


def facts_of(attributes: Iterable[KeyValue]) -> dict[str, object]:
    return {attribute.key: value_of(attribute.value) for attribute in attributes}


def value_of(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
