"""Traces with OpenTelemetry: spans are sent in batches by a thread of its own, and lost rather than waited for.

Where to, and which share, is said by the ``OTEL_*`` variables, which OpenTelemetry reads by itself.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import Token
from types import TracebackType
from typing import Self

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service import __version__
from service.core.telemetry import LogEvent
from service.core.tracing import Facts, Span, SpanField, SpanKind, choose_parent, enter_span, leave_span

#: A process ends so much later at most, for the sake of its last spans.
_CLOSE_WITHIN_SECONDS = 2.0
_KINDS = {
    SpanKind.SERVER: trace.SpanKind.SERVER,
    SpanKind.CONSUMER: trace.SpanKind.CONSUMER,
    SpanKind.INTERNAL: trace.SpanKind.INTERNAL,
    SpanKind.CLIENT: trace.SpanKind.CLIENT,
}
#: The loggers that say again and again that a receiver is away, or that the queue is full.
_TALKATIVE = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")
_QUEUE_FULL = "Queue full"
_PROPAGATOR = TraceContextTextMapPropagator()

log = structlog.get_logger()


class OtlpSpan:
    """A span of OpenTelemetry; open within its ``with``.

    Where it has links to other traces it leaves a signpost in each: receivers follow a link one way only.
    """

    def __init__(self, span: trace.Span, tracer: trace.Tracer, *, others: Sequence[Context] = ()) -> None:
        self._span = span
        self._context = span.get_span_context()
        self._tracer = tracer
        self._others = others
        self._token: Token[Span] | None = None

    def __enter__(self) -> Self:
        self._token = enter_span(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            leave_span(self._token)
        if kind is not None:
            self.fail(kind.__qualname__)
        self._span.end()
        for other in self._others:
            self._put_signpost(other)

    @property
    def traceparent(self) -> str | None:
        """The trace context of its children; None where OpenTelemetry was disabled."""
        context = self._context
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    @property
    def log_fields(self) -> Mapping[str, str]:
        """The ids, as other programs write them into their logs."""
        context = self._context
        if not context.is_valid:
            return {}
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def note(self, facts: Facts) -> None:
        """Add what is known now; of a span that is not sampled nothing is kept."""
        if self._span.is_recording():
            self._span.set_attributes(_known(facts))

    def fail(self, error_type: str) -> None:
        """Mark it as failed; words of an error are left out, since they are anybody's."""
        self._span.set_status(trace.StatusCode.ERROR)
        self._span.set_attribute(SpanField.ERROR_TYPE, error_type)

    def call(self, name: str, facts: Facts) -> AbstractContextManager[Span]:
        """Open the span of a call that is made for this one."""
        span = self._tracer.start_span(
            name,
            context=set_span_in_context(self._span),
            kind=trace.SpanKind.CLIENT,
            attributes=_known(facts),
        )
        return OtlpSpan(span, self._tracer)

    def _put_signpost(self, other: Context) -> None:
        if not isinstance(self._span, ReadableSpan):
            return
        self._tracer.start_span(
            f"{self._span.name} (see link)",
            context=other,
            attributes=self._span.attributes,
            links=[trace.Link(self._context)],
            start_time=self._span.start_time,
        ).end(self._span.end_time)


class OtlpTracer:
    """The tracer of a process, with its thread that sends; needs ``close``."""

    is_on = True

    def __init__(self, *, instance: str) -> None:
        self._exporter = LossTeller(OTLPSpanExporter())
        self._provider = TracerProvider(resource=_resource(instance), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("batch-release", __version__)

    def open(
        self, kind: SpanKind, name: str, *, parents: Sequence[str] = (), facts: Facts
    ) -> AbstractContextManager[Span]:
        """Open a span of the trace of one of the parents, with links to the others and from them."""
        parent, linked = choose_parent(parents)
        others = [_context_of(traceparent) for traceparent in linked]
        span = self._tracer.start_span(
            name,
            context=_context_of(parent),
            kind=_KINDS[kind],
            attributes=_known(facts),
            links=[_link_to(trace.get_current_span(other)) for other in others],
        )
        return OtlpSpan(span, self._tracer, others=others)

    async def close(self) -> None:
        """Send what is left, as long as that is quick; the thread that does it keeps no process from ending."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send_the_rest() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop has not waited
                loop.call_soon_threadsafe(sent.set)

        threading.Thread(target=send_the_rest, name="last-spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN_SECONDS):
                await sent.wait()
                self._exporter.stop_listening()


class LossTeller(SpanExporter):
    """Sends spans, and says that some are lost: once, until they are taken again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_losing = False
        self._words = _LastWords(on_full_queue=self._tell)
        for name in _TALKATIVE:
            logging.getLogger(name).addHandler(self._words)
            logging.getLogger(name).propagate = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that are not taken are gone."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._is_losing = False
        else:
            self._tell(self._words.last)
        return result

    def shutdown(self) -> None:
        """Send no more."""
        self._exporter.shutdown()

    def stop_listening(self) -> None:
        """Let OpenTelemetry's words go into the log again."""
        for name in _TALKATIVE:
            logging.getLogger(name).removeHandler(self._words)
            logging.getLogger(name).propagate = True

    def _tell(self, reason: str) -> None:
        if not self._is_losing:
            self._is_losing = True
            log.warning(LogEvent.TRACES_LOST, reason=reason)


class _LastWords(logging.Handler):
    """Hears what OpenTelemetry says of its exports, which is too much for the log."""

    def __init__(self, *, on_full_queue: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._on_full_queue = on_full_queue
        self.last = "unknown"

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it; more spans than can be sent are a loss that no export tells."""
        words = record.getMessage()
        if words.startswith(_QUEUE_FULL):
            self._on_full_queue("there are more spans than can be sent")
        else:
            self.last = words


def _context_of(traceparent: str | None) -> Context:
    if traceparent is None:
        return Context()
    return _PROPAGATOR.extract({"traceparent": traceparent}, context=Context())


def _link_to(span: trace.Span) -> trace.Link:
    return trace.Link(span.get_span_context())


def _known(facts: Facts) -> dict[str, str | int | float | bool]:
    return {name: fact for name, fact in facts.items() if fact is not None}


def _resource(instance: str) -> Resource:
    """Say who we are; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` go before."""
    ours = {
        "service.name": "batch-release",
        "service.version": __version__,
        "service.instance.id": instance,
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})
