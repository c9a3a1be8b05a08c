"""The span of an HTTP request: of what changes something, and of every call of the façade."""

from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

from service.core.tracing import Facts, Span, SpanField, SpanKind
from service.doors.facade.create import REQUEST_HEADER
from service.doors.facade.form import PREFIX
from service.doors.http import HTTP_REQUEST_ID, Handler, good_traceparent
from service.doors.keys import DEPS

_READING = frozenset({"GET", "HEAD"})
_SERVER_ERROR = 500


def tracing_around(tracing: str) -> Sequence[Middleware]:
    """Return what goes around the edge for ``RELEASE_TRACING``: nothing where nobody traces."""
    return () if tracing == "off" else (traced,)


@web.middleware
async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Open a span over a request that is worth one: a child of the caller's, or the first of a trace."""
    route = _route_of(request)
    if route is None:
        return await handler(request)
    given = good_traceparent(request.headers.get("traceparent"))
    with request.app[DEPS].tracer.open(
        SpanKind.SERVER,
        f"{request.method} {route}",
        parents=() if given is None else (given,),
        facts=_facts_of(request, route),
    ) as span:
        response = await handler(request)
        _note_answer(span, request, response)
        return response


def _route_of(request: web.Request) -> str | None:
    resource = request.match_info.route.resource
    if resource is None:
        return None
    route = resource.canonical
    is_traced = request.method not in _READING or route.startswith(PREFIX)
    return route if is_traced else None


def _facts_of(request: web.Request, route: str) -> Facts:
    return {
        SpanField.HTTP_METHOD: request.method,
        SpanField.HTTP_ROUTE: route,
        SpanField.URL_SCHEME: request.scheme,
        SpanField.URL_PATH: request.rel_url.raw_path,
    }


def _note_answer(span: Span, request: web.Request, response: web.StreamResponse) -> None:
    span.note(
        {
            SpanField.HTTP_STATUS: response.status,
            SpanField.HTTP_REQUEST_ID: request[HTTP_REQUEST_ID],
            SpanField.REQUEST_ID: _release_request_of(response),
        }
    )
    if response.status >= _SERVER_ERROR:
        span.fail(str(response.status))


def _release_request_of(response: web.StreamResponse) -> str | None:
    """Return the id of the one release request that came of it, where it did: it is in the headers of the answer."""
    location = response.headers.get("Location", "")
    is_request = location.startswith("/v1/release-requests/")
    return location.rpartition("/")[2] if is_request else response.headers.get(REQUEST_HEADER)
