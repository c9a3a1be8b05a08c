"""The edge of every HTTP request: its id, its log line, its headers, and errors as problems."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from service.core.errors import Unavailable
from service.core.log import says_everything
from service.core.model import trace_fields
from service.core.telemetry import LogEvent
from service.core.tracing import current_span
from service.doors import http_problems, problems
from service.doors.dressing import dress, http_request_id_for
from service.doors.facade import form as vendor_form
from service.doors.facade.form import VendorFormError
from service.doors.keys import DEPS, LARGE_BODY_TURNS, ODD_LINES
from service.doors.operation import JSON
from service.doors.problems import Problem, ProblemError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HTTP_REQUEST_ID = web.RequestKey("http_request_id", str)
#: Of a request that may wait for as long as it likes: it is not slow.
IS_PATIENT = web.RequestKey("is_patient", bool)
#: What the caller expects, in small letters: nothing, or a sign before it sends its body.
EXPECTED = web.RequestKey("expected", tuple)
#: Why a request failed, for its log line.
_REASON = web.RequestKey("reason", str)

_GOOD_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
#: Longest body of a request.
MAX_BODY_BYTES = 1 << 20
#: Any number of bodies of this length may be in memory at once.
_SMALL_BODY_BYTES = 1 << 16
#: Longest time for the body of a request to come in.
BODY_SECONDS = 30.0
#: A request that took longer is worth a line.
_SLOW_SECONDS = 1.0
_SERVER_ERROR = 500

log = structlog.get_logger()


@web.middleware
async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, turn errors into problems, set the headers of every answer, and log what matters."""
    started = time.perf_counter()
    http_request_id = http_request_id_for(request.headers.get("X-Request-Id"))
    request[HTTP_REQUEST_ID] = http_request_id
    # aiohttp gives each request a context of its own, which ends with it.
    structlog.contextvars.bind_contextvars(
        http_request_id=http_request_id, **trace_fields(traceparent_of(request))
    )
    response = await _answer(request, handler)
    if not response.prepared:
        set_headers(request, response)
    seconds = time.perf_counter() - started
    _count_served(request, response.status, seconds)
    _log_served(request, response, seconds)
    return response


def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set what every answer has, before its first byte."""
    dress(response, request[HTTP_REQUEST_ID])
    if request.app[DEPS].changes.is_closing:
        response.force_close()


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ProblemError as error:
        problem = error.problem
    except VendorFormError as error:
        return vendor_form.respond(error.form, http_request_id=request[HTTP_REQUEST_ID])
    except web.HTTPException as error:
        problem = problems.of_http_exception(error)
    except Unavailable as error:
        request[_REASON] = str(error)
        problem = problems.unavailable_by(error)
    except Exception:
        log.exception(LogEvent.HTTP_FAILED, http_method=request.method, http_path=request.rel_url.raw_path)
        problem = problems.internal_error()
    return _respond(request, problem)


def _respond(request: web.Request, problem: Problem) -> web.Response:
    """Write a problem; on the addresses of the façade in the vendor's form."""
    http_request_id, path = request[HTTP_REQUEST_ID], request.rel_url.raw_path
    if path.startswith(vendor_form.PREFIX):
        return vendor_form.respond(vendor_form.of_problem(problem), http_request_id=http_request_id)
    instance = path if path.startswith("/") else "/"
    return problems.respond(problem, instance=instance, http_request_id=http_request_id)


def _count_served(request: web.Request, status: int, seconds: float) -> None:
    resource = request.match_info.route.resource
    # What is not served has the caller's own words for method and path.
    method, route = ("none", "none") if resource is None else (request.method, resource.canonical)
    request.app[DEPS].metrics.http.count_request(method, route, status, seconds=seconds)


def _log_served(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    is_odd = response.status >= _SERVER_ERROR or (seconds > _SLOW_SECONDS and not _may_take_long(request))
    if not is_odd and not says_everything():
        return
    skipped = request.app[ODD_LINES].take(now=time.monotonic()) if is_odd else None
    write = log.debug if skipped is None else log.warning
    write(
        LogEvent.HTTP_SERVED,
        http_request_id=request[HTTP_REQUEST_ID],
        http_method=request.method,
        http_path=request.rel_url.raw_path,
        http_status=response.status,
        duration_ms=round(seconds * 1000, 1),
        **({"reason": request[_REASON]} if _REASON in request else {}),
        **({"skipped": skipped} if skipped else {}),
    )


def _may_take_long(request: web.Request) -> bool:
    is_patient = IS_PATIENT in request or "Prefer" in request.headers
    return is_patient or "wait" in request.query or wants_stream(request)


def wants_stream(request: web.Request) -> bool:
    """Tell whether the caller asks for server-sent events (WHATWG HTML, 9.2)."""
    accepted = ",".join(request.headers.getall("Accept", ())).split(",")
    return any(kind.partition(";")[0].strip().lower() == "text/event-stream" for kind in accepted)


def traceparent_of(request: web.Request) -> str | None:
    """Return the trace context of what is done for a request: its span's, or else the caller's, where that is one."""
    return current_span().traceparent or good_traceparent(request.headers.get("traceparent"))


def good_traceparent(value: str | None) -> str | None:
    """Return a W3C trace context as it is, and None for anything else: tracing never fails a request."""
    return value if value is not None and _GOOD_TRACEPARENT.fullmatch(value) else None


async def read_json_body(request: web.Request) -> bytes:
    """Read the body of a request that must be JSON, uncompressed.

    Raises:
        ProblemError: it is of another type or compressed, or does not come.
        HTTPRequestEntityTooLarge: it is over the limit.
    """
    check_json_type(request)
    return await read_body(request)


def check_json_type(request: web.Request) -> None:
    """Refuse a body that is not JSON, or compressed.

    Raises:
        ProblemError: it is.
    """
    headers = request.headers
    if headers.get("Content-Type") == JSON and "Content-Encoding" not in headers:
        return
    encoding = ", ".join(headers.getall("Content-Encoding", ["identity"]))
    if encoding.lower() != "identity":
        raise ProblemError(
            http_problems.unsupported_media_type(
                f"Expected a body that is not compressed; given {encoding!r}."
            )
        )
    if "Content-Type" not in headers or request.content_type != JSON:
        given = headers.get("Content-Type", "nothing")
        raise ProblemError(
            http_problems.unsupported_media_type(f"Expected Content-Type: application/json; given {given!r}.")
        )
    charset = request.charset
    if charset is not None and charset.lower() != "utf-8":
        raise ProblemError(
            http_problems.unsupported_media_type(f"Expected charset=utf-8; given {charset!r}.")
        )


async def read_body(request: web.Request) -> bytes:
    """Read a body to its end, of whatever type.

    Raises:
        ProblemError: it does not come, or not as its headers announce it.
        HTTPRequestEntityTooLarge: it is over the limit.
    """
    length = request.content_length
    if (length or 0) > MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, length or 0)
    try:
        if request.content.is_eof() and not request[EXPECTED]:
            return _within_bounds(request.content.read_nowait())
        if not request.can_read_body or (length is not None and length <= _SMALL_BODY_BYTES):
            return await _read_in_time(request)
        async with request.app[LARGE_BODY_TURNS].turn():
            return await _read_in_time(request)
    except (web.RequestPayloadError, ConnectionError):
        raise ProblemError(http_problems.body_broken()) from None


def _within_bounds(body: bytes) -> bytes:
    if len(body) > MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, len(body))
    return body


async def _read_in_time(request: web.Request) -> bytes:
    """Read a body that is not all there yet."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await _ask_for_body(request)
            return await request.read()
    except TimeoutError:
        raise ProblemError(http_problems.body_too_slow()) from None


async def _ask_for_body(request: web.Request) -> None:
    """Tell a caller that waits for it that its body is wanted."""
    if request[EXPECTED]:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
