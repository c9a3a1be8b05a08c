"""The parameters that routes share: what each is, how it is read, and what was expected where it is wrong."""

import re
from datetime import timedelta
from uuid import UUID

from aiohttp import web

from service.doors import problems
from service.doors.operation import Parameter
from service.doors.problems import ProblemError

#: Longest wait that one HTTP request may ask for.
MAX_WAIT = timedelta(seconds=30)
_MAX_PAGE = 200
_DEFAULT_PAGE = 50
#: The last row of a timeline that a number in Postgres can name.
LAST_SEQ = 2**31 - 1
_PREFER_WAIT = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?', re.IGNORECASE)
_KEY = re.compile(r'(?:"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e][\x20-\x7e]{0,254}))')
_HEADER_TEXT = {"type": "string", "maxLength": 1_000}

WAIT = Parameter(
    name="wait",
    place="query",
    description="Seconds to wait for a change; more than 30 count as 30.",
    schema={"type": "integer", "minimum": 0, "maximum": 10**9},
)
PREFER = Parameter(
    name="Prefer",
    place="header",
    description="`respond-async, wait=SECONDS` (RFC 7240); more than 30 seconds count as 30.",
    schema=_HEADER_TEXT,
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    description="The caller's own name of the request, bare or quoted: the same key and body give the same request.",
    schema={"type": "string", "minLength": 1, "maxLength": 257, "pattern": "^[!-~]([ -~]*[!-~])?$"},
)
IF_NONE_MATCH = Parameter(
    name="If-None-Match",
    place="header",
    description="The `ETag` that the caller has: 304 while nothing has changed.",
    schema=_HEADER_TEXT,
)
PAGE_SIZE = Parameter(
    name="page_size",
    place="query",
    description="Rows of a page; more than 200 count as 200.",
    schema={"type": "integer", "minimum": 1, "maximum": 10**9, "default": _DEFAULT_PAGE},
)
PAGE_TOKEN = Parameter(
    name="page_token",
    place="query",
    description="The `next_page_token` of the page before.",
    schema={"type": "string", "maxLength": 500},
)
AFTER_SEQ = Parameter(
    name="page_token",
    place="query",
    description="The `next_page_token` of the page before.",
    schema={"type": "integer", "minimum": 0, "maximum": LAST_SEQ},
)


def read_id(request: web.Request, *, what: str = "resource") -> UUID:
    """Return the id in the path, ``what`` is named by it; what is not an id is the id of nothing.

    Raises:
        ProblemError: not an id.
    """
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise ProblemError(problems.not_found(what)) from None


def read_idempotency_key(request: web.Request) -> str | None:
    """Return the key of the request, bare or quoted, or None.

    Raises:
        ProblemError: it is empty, too long, not printable ASCII, or there more than once.
    """
    given = request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    key = idempotency_key_in(given[0])
    if key is None or len(given) > 1:
        raise ProblemError(
            problems.invalid_parameter(
                "Expected one Idempotency-Key of 1 to 255 printable ASCII characters, bare or quoted; "
                f"given {len(given)} of {len(given[0])} characters."
            )
        )
    return key


def idempotency_key_in(text: str) -> str | None:
    """Return the key in a text, bare or quoted; None where it is empty, too long or not printable ASCII."""
    match = _KEY.fullmatch(text.strip())
    return None if match is None else match[1] or match[2]


def knows(request: web.Request, etag: str) -> bool:
    """Tell whether the caller has this representation already (RFC 9110, 13.1.2: compared weakly)."""
    given = ",".join(request.headers.getall("If-None-Match", ()))
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def preferred_wait(request: web.Request) -> timedelta | None:
    """Return how long the caller prefers to wait (RFC 7240), at most 30 seconds; None where it does not say."""
    if "Prefer" not in request.headers:
        return None
    for preference in ",".join(request.headers.getall("Prefer", ())).split(","):
        match = _PREFER_WAIT.fullmatch(preference.partition(";")[0].strip())
        if match is not None:
            return min(timedelta(seconds=int(match[1])), MAX_WAIT)
    return None


def requested_wait(request: web.Request) -> timedelta | None:
    """Return how long a read may wait: the query's ``wait``, else the preference, at most 30 seconds.

    Raises:
        ProblemError: it is not a number of seconds.
    """
    if "wait" not in request.query:
        return preferred_wait(request)
    seconds = read_whole_number(request, "wait", default=0, highest=10**9)
    return min(timedelta(seconds=seconds), MAX_WAIT)


def read_page_size(request: web.Request) -> int:
    """Return the page size that the caller wants: 1 to 200, 50 by default; more is cut to 200.

    Raises:
        ProblemError: it is not a number, or less than 1.
    """
    size = read_whole_number(request, "page_size", default=_DEFAULT_PAGE, highest=10**9)
    if size < 1:
        raise ProblemError(problems.invalid_parameter("Expected a page_size of 1 to 200; given 0."))
    return min(size, _MAX_PAGE)


def read_whole_number(request: web.Request, name: str, *, default: int, highest: int) -> int:
    """Return a query parameter that is a whole number.

    Raises:
        ProblemError: it is not one, or too high.
    """
    given = request.query.get(name)
    if given is None:
        return default
    if not (
        given.isascii() and given.isdigit() and len(given) <= len(str(highest)) and int(given) <= highest
    ):
        raise ProblemError(
            problems.invalid_parameter(
                f"Expected {name} to be a whole number up to {highest}; given {given[:40]!r}."
            )
        )
    return int(given)
