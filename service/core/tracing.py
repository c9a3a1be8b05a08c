"""Spans: what a step says of itself to a tracer. Where nobody traces, nothing is made and nothing is kept.

The open span is known to the task that runs in it and to the tasks that this one begins, as is who logs.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

#: A fact that is None is left out.
Facts = Mapping[str, str | int | float | bool | None]

_LENGTH_OF_FLAGS = 2
_SAMPLED = 0x01


class SpanKind(StrEnum):
    """On which side of what a span is."""

    SERVER = "server"
    CONSUMER = "consumer"
    INTERNAL = "internal"
    CLIENT = "client"


class SpanField(StrEnum):
    """Names of all facts of our spans. Those of HTTP and of errors are OpenTelemetry's, as are most of messaging."""

    HTTP_METHOD = "http.request.method"
    HTTP_ROUTE = "http.route"
    HTTP_STATUS = "http.response.status_code"
    URL_SCHEME = "url.scheme"
    URL_PATH = "url.path"
    URL_FULL = "url.full"
    SERVER_ADDRESS = "server.address"
    SERVER_PORT = "server.port"
    ERROR_TYPE = "error.type"
    MESSAGING_SYSTEM = "messaging.system"
    MESSAGING_OPERATION = "messaging.operation.type"
    MESSAGING_QUEUE = "messaging.destination.name"
    HTTP_REQUEST_ID = "release.http_request.id"
    REQUEST_ID = "release.request.id"
    BATCH_ID = "release.batch.id"
    PROJECT_ID = "release.project.id"
    WORKSPACE = "release.workspace"
    ITEMS = "release.items"
    ATTEMPT = "release.attempt"
    EPOCH = "release.epoch"
    OUTCOME = "release.outcome"
    BATCH_STATE = "release.batch.state"
    DOUBTS = "release.doubts"
    VENDOR_ERROR_CODE = "release.vendor.error_code"
    VENDOR_REQUEST_ID = "release.vendor.request_id"


class Span(Protocol):
    """An open span; it ends with its ``with``."""

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context of what is done for this span; None where nobody traces."""

    @property
    def log_fields(self) -> Mapping[str, str]:
        """The ids that a log line bears while the span is open."""

    def note(self, facts: Facts) -> None:
        """Add what is known now."""

    def fail(self, error_type: str) -> None:
        """Say that what the span stands for did not work, and by which kind of error."""

    def call(self, name: str, facts: Facts) -> AbstractContextManager["Span"]:
        """Open the span of a call to another service, a child of this one."""


class Tracer(Protocol):
    """Opens spans of this process."""

    @property
    def is_on(self) -> bool:
        """Whether anybody traces: what only a tracer wants to know need not be read otherwise."""

    def open(
        self, kind: SpanKind, name: str, *, parents: Sequence[str] = (), facts: Facts
    ) -> AbstractContextManager[Span]:
        """Open a span of the trace of one of the parents, with links to the others; without any, a new trace.

        Args:
            kind: On which side of what it is.
            name: One of few: no ids.
            parents: W3C trace contexts of what the span is for, the first one first.
            facts: What is known already.
        """

    async def close(self) -> None:
        """Hand over what is left, for a bounded time."""


class NoSpan:
    """The span that is open where nobody traces; the same for everybody, any number of times."""

    traceparent: str | None = None
    log_fields: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def note(self, facts: Facts) -> None:
        """Forget it."""

    def fail(self, error_type: str) -> None:
        """Forget it."""

    def call(self, _name: str, _facts: Facts) -> Self:
        """Open nothing."""
        return self


class NoTracer:
    """The tracer of a process that traces nothing."""

    is_on = False

    def open(self, _kind: SpanKind, _name: str, *, parents: Sequence[str] = (), facts: Facts) -> NoSpan:  # noqa: ARG002 - as Tracer has them
        """Open nothing."""
        return NO_SPAN

    async def close(self) -> None:
        """There is nothing to hand over."""


NO_SPAN = NoSpan()
_CURRENT: ContextVar[Span] = ContextVar("span", default=NO_SPAN)


def current_span() -> Span:
    """Return the span that is open, or one that forgets everything."""
    return _CURRENT.get()


def enter_span(span: Span) -> Token[Span]:
    """Let a span be the open one, until ``leave_span`` with what this returns."""
    return _CURRENT.set(span)


def leave_span(token: Token[Span]) -> None:
    """Let the span be the open one that was before."""
    _CURRENT.reset(token)


def choose_parent(traceparents: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """Choose whose trace goes on, and to which there are links: the first that is sampled, and the others of these.

    What is not sampled is kept nowhere, so a link to it would lead to nothing. Where none is sampled the first
    decides, so that the span is not sampled either.
    """
    sampled = [traceparent for traceparent in dict.fromkeys(traceparents) if is_sampled(traceparent)]
    if sampled:
        return sampled[0], sampled[1:]
    return (traceparents[0] if traceparents else None), ()


def is_sampled(traceparent: str) -> bool:
    """Tell whether who sent a trace context keeps its spans (W3C Trace Context, 3.2.2.5)."""
    return bool(int(traceparent[-_LENGTH_OF_FLAGS:], 16) & _SAMPLED)
