"""The span of a call to the vendor, and the trace context that goes with it."""

from contextlib import AbstractContextManager
from dataclasses import replace

from yarl import URL

from service.core.tracing import NO_SPAN, Span, SpanField, current_span
from service.gateways.vendor.answer import Answer, NoAnswer
from service.gateways.vendor.calls import VendorCall
from service.gateways.vendor.classify import is_success
from service.gateways.vendor.endpoints import template_of
from service.gateways.vendor.words import request_id_of, vendor_error


def open_call_span(call: VendorCall, base_url: URL) -> AbstractContextManager[Span]:
    """Open the span of a call under the one that is open; of the call without its query."""
    parent = current_span()
    if parent is NO_SPAN:
        return NO_SPAN
    return parent.call(
        f"{call.method} {template_of(call.path)}",
        {
            SpanField.HTTP_METHOD: call.method,
            SpanField.URL_FULL: f"{base_url.origin()}{base_url.raw_path.rstrip('/')}{call.path}",
            SpanField.SERVER_ADDRESS: base_url.raw_host,
            SpanField.SERVER_PORT: base_url.port,
            SpanField.WORKSPACE: call.workspace,
        },
    )


def carrying(call: VendorCall, span: Span) -> VendorCall:
    """Return the call with the trace context of its span, where it has one."""
    return call if span.traceparent is None else replace(call, traceparent=span.traceparent)


def note_reply(span: Span, reply: Answer | NoAnswer, *, is_held_back: bool) -> None:
    """Note what came back, without a word of the body: only the code of an error, and the vendor's id of the call."""
    if span is NO_SPAN:
        return
    if isinstance(reply, NoAnswer):
        span.fail("held_back" if is_held_back else reply.reason.value)
        return
    error_code = None if is_success(reply) else vendor_error(reply).error_code
    span.note(
        {
            SpanField.HTTP_STATUS: reply.status,
            SpanField.VENDOR_REQUEST_ID: request_id_of(reply),
            SpanField.VENDOR_ERROR_CODE: error_code,
        }
    )
    if not is_success(reply):
        span.fail(str(reply.status))
