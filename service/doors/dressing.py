"""What every HTTP answer wears, also those that no handler gives."""

import re
from http import HTTPStatus

from aiohttp import hdrs, web
from multidict import istr

from service.core.ids import new_id
from service.doors import problems
from service.doors.problems import Problem

_REQUEST_ID = istr("X-Request-Id")
_CONTENT_TYPE_OPTIONS = istr("X-Content-Type-Options")
_GOOD_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def http_request_id_for(given: str | None) -> str:
    """Return the id that the caller brings where it is a good one, else a new one."""
    return given if given is not None and _GOOD_ID.fullmatch(given) else str(new_id())


def dress(response: web.StreamResponse, http_request_id: str) -> None:
    """Set the headers of every answer."""
    headers = response.headers
    headers[_REQUEST_ID] = http_request_id
    headers[_CONTENT_TYPE_OPTIONS] = "nosniff"
    headers[hdrs.SERVER] = "batch-release"
    headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


def last_answer(problem: Problem, *, instance: str, http_request_id: str) -> web.Response:
    """Write a problem that ends its connection."""
    response = problems.respond(problem, instance=instance, http_request_id=http_request_id)
    dress(response, http_request_id)
    response.force_close()
    return response


def raw_answer(problem: Problem) -> bytes:
    """Write a problem as it goes over the wire, for a connection that has sent no request yet."""
    response = last_answer(problem, instance="/", http_request_id=str(new_id()))
    body = response.body if isinstance(response.body, bytes) else b""
    response.headers.update({"Content-Length": str(len(body)), "Connection": "close"})
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
