"""Reads what a form sends, from our own pages only.

A form must come from a page of this host: browsers say so in ``Sec-Fetch-Site`` or ``Origin`` (Fetch Standard, 3.2;
Fetch Metadata), and the page of a session has put a token into it that no other site can read.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from multidict import MultiDict
from pydantic import BaseModel, ValidationError

from service.core.field_errors import field_errors
from service.core.submission import Invalid
from service.core.wording import shown
from service.doors import problems
from service.doors.http import read_body
from service.doors.problems import ProblemError

Model = TypeVar("Model", bound=BaseModel)

FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
_FORM_TYPE = "application/x-www-form-urlencoded"
#: A page of requests has 200 rows, each with a box to tick.
_MOST_FIELDS = 500


def form_token_of(session_token: str) -> str:
    """Return what the forms of a session carry."""
    return hashlib.sha256(b"form of " + session_token.encode(errors="replace")).hexdigest()


async def read_form(request: web.Request, *, form_token: str | None) -> MultiDict[str]:
    """Return the fields of a form; ``form_token`` is what it must carry, None where there is no session.

    Raises:
        ProblemError: it is of another site, or no form.
    """
    if not _is_of_this_site(request, is_token_proof=form_token is not None):
        raise ProblemError(problems.forbidden("a form of this site; the one that was sent is of another"))
    if request.content_type != _FORM_TYPE:
        raise ProblemError(
            problems.invalid_parameter(f"Expected a form; given {shown(request.content_type)}.")
        )
    fields = _fields_of(await read_body(request))
    token = fields.pop(FORM_TOKEN, "")
    if form_token is not None and not hmac.compare_digest(token.encode(), form_token.encode()):
        raise ProblemError(
            problems.forbidden("a form of this session: open the page again, and send it once more")
        )
    return fields


def _fields_of(raw: bytes) -> MultiDict[str]:
    try:
        text = raw.decode("utf-8")
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise ProblemError(
            problems.invalid_parameter(f"Expected a form of at most {_MOST_FIELDS} fields in UTF-8.")
        ) from None
    if any("\0" in value for _, value in fields):
        raise ProblemError(problems.invalid_parameter("Expected a form without NUL, which is not kept."))
    return MultiDict(fields)


def _is_of_this_site(request: web.Request, *, is_token_proof: bool) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is not None:
        return urlsplit(origin).netloc == request.host
    return is_token_proof


def model_of(fields: Mapping[str, object], model: type[Model]) -> Model | Invalid:
    """Read the fields of a form as the body of an action; a field with nothing in it is not given."""
    given = {
        name: value.strip() if isinstance(value, str) else value
        for name, value in fields.items()
        if name in model.model_fields
    }
    try:
        return model.model_validate({name: value for name, value in given.items() if value != ""})
    except ValidationError as error:
        return Invalid(errors=tuple(field_errors(error, model)))
