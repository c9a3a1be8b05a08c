"""Takes an operator's decision about a batch from a form."""

from collections.abc import Mapping
from typing import assert_never
from uuid import UUID

from aiohttp import web

from service.core.field_errors import FieldError
from service.core.resolution import ResolutionBody
from service.core.submission import Invalid
from service.doors import action_problems
from service.doors.batches import no_batch, resolution_of
from service.doors.console.batches import Refused, show_batch
from service.doors.console.forms import model_of
from service.doors.console.visit import Visit
from service.doors.http import HTTP_REQUEST_ID
from service.doors.parameters import read_id
from service.doors.problems import ProblemError
from service.flow.resolve import NoSuchBatch, NotResolvable, Order, Resolved, resolve

_ATTENTION = "/attention"


async def decide(visit: Visit) -> web.StreamResponse:
    """Write an operator's decision about a batch that waits for one; one that cannot be is explained on its page."""
    batch_id, fields = read_id(visit.request, what="batch"), await visit.read_form()
    body = model_of(fields, ResolutionBody)
    if isinstance(body, Invalid):
        return await show_batch(visit, batch_id, refused=_refused(fields, body))
    order = Order(
        batch_id=batch_id,
        resolution=resolution_of(body, visit.known_caller),
        visible=visit.visible,
        http_request_id=visit.request[HTTP_REQUEST_ID],
    )
    match await resolve(visit.deps, order):
        case Resolved():
            return visit.go_to(_way_back(fields, batch_id), notice=f"resolved.{body.decision}")
        case NoSuchBatch():
            raise ProblemError(no_batch(visit.deps, batch_id))
        case NotResolvable(state=state):
            detail = action_problems.not_resolvable(state.value).detail
            return await show_batch(
                visit, batch_id, refused=Refused(status=409, fields=fields, flaws=(detail,))
            )
        case Invalid() as invalid:
            return await show_batch(visit, batch_id, refused=_refused(fields, invalid))
        case unexpected:
            assert_never(unexpected)


def _refused(fields: Mapping[str, str], invalid: Invalid) -> Refused:
    return Refused(status=422, fields=fields, flaws=tuple(_in_words(error) for error in invalid.errors))


def _in_words(error: FieldError) -> str:
    return f"{error.pointer.lstrip('/')}: {error.detail}"


def _way_back(fields: Mapping[str, str], batch_id: UUID) -> str:
    """Return where the form was: the list of what needs an operator, or the batch."""
    return _ATTENTION if fields.get("next", "").partition("?")[0] == _ATTENTION else f"/batches/{batch_id}"
