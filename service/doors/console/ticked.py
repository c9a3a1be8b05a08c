"""The pages of what is done to the requests that somebody has ticked: a look beforehand, and what became of each."""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode
from uuid import UUID

from aiohttp import web

from service.core.model import RequestState
from service.core.operations import OperationAction
from service.core.wording import shown
from service.doors import problems
from service.doors.console.requests import Act, actor_of
from service.doors.console.visit import Visit
from service.doors.keys import INTAKE
from service.doors.problems import ProblemError
from service.flow.accept import NotApplicant
from service.flow.accept_group import ItemConflict
from service.flow.acting import (
    Done,
    NoSuchRequest,
    NotCancellable,
    NotRetryable,
    NotTheirs,
    cancel_request,
    retry_request,
)
from service.flow.foresight import Foreseen, foresee

PATH = "/requests/ticked"
#: Far more than a page of the list has, and few enough for an address.
_MOST_TICKED = 100
_ACTS: Mapping[OperationAction, Act] = {
    OperationAction.CANCEL: cancel_request,
    OperationAction.RETRY: retry_request,
}
#: The sentences of what cannot be acted on.
_WHY_NOT: Mapping[type, str] = {
    NoSuchRequest: "missing",
    NotTheirs: "not_theirs",
    NotApplicant: "not_applicant",
    NotCancellable: "not_cancellable",
    NotRetryable: "not_retryable",
    ItemConflict: "conflict",
}


async def preview(visit: Visit) -> web.StreamResponse:
    """Show what would become of each request that is ticked, and ask for a reason."""
    query = visit.request.query
    action, ids = read_action(query.get("action", "")), _read_ids(query.getall("id", []))
    found = await foresee(visit.deps, action, ids, actor_of(visit, ""))
    return visit.render(
        "ticked.html",
        action=action.value,
        rows=[(one, why_not(one)) for one in found],
        free=[one.request_id for one in found if why_not(one) is None],
    )


async def act(visit: Visit) -> web.StreamResponse:
    """Act on each request, one after the other; what cannot be acted on stays as it is."""
    fields = await visit.read_form()
    action, ids = read_action(fields.get("action", "")), _read_ids(fields.getall("id", []))
    actor, intake = actor_of(visit, fields.get("reason", "")), visit.request.app[INTAKE]
    outcomes = {one: await _ACTS[action](visit.deps, intake, one, actor) for one in ids}
    done = [one for one, outcome in outcomes.items() if isinstance(outcome, Done)]
    return visit.go_to(_path_of_result(action, done=done, left=[one for one in ids if one not in done]))


def _path_of_result(action: OperationAction, *, done: Iterable[UUID], left: Iterable[UUID]) -> str:
    pairs = [("action", action.value), *(("done", str(one)) for one in done)]
    return f"{PATH}/result?{urlencode([*pairs, *(('left', str(one)) for one in left)])}"


async def result(visit: Visit) -> web.StreamResponse:
    """Show what was acted on, and of the rest why it was not."""
    query = visit.request.query
    action = read_action(query.get("action", ""))
    done, left = _read_ids(query.getall("done", [])), _read_ids(query.getall("left", []))
    found = await foresee(visit.deps, action, [*left, *done], actor_of(visit, ""))
    return visit.render(
        "ticked_result.html",
        action=action.value,
        rows=[(one, why_not(one) if one.request_id in left else None) for one in found],
        left=left,
        done=done,
    )


def read_action(text: str) -> OperationAction:
    """Return what is to be done.

    Raises:
        ProblemError: it is nothing that can be.
    """
    try:
        return OperationAction(text)
    except ValueError:
        expected = " or ".join(OperationAction)
        raise ProblemError(
            problems.invalid_parameter(f"Expected action to be {expected}; given {shown(text)}.")
        ) from None


def _read_ids(texts: Sequence[str]) -> list[UUID]:
    """Return the ids of the boxes that are ticked, each once."""
    try:
        ids = list(dict.fromkeys(UUID(text) for text in texts))
    except ValueError:
        raise ProblemError(problems.invalid_parameter("Expected ids of release requests.")) from None
    if len(ids) > _MOST_TICKED:
        raise ProblemError(
            problems.invalid_parameter(f"Expected at most {_MOST_TICKED} requests; given {len(ids)}.")
        )
    return ids


def why_not(foreseen: Foreseen) -> str | None:
    """Return the name of the sentence that says why a request cannot be acted on; None where it can."""
    outcome = foreseen.outcome
    if isinstance(outcome, Done):
        is_over = foreseen.view is not None and foreseen.view.state is RequestState.CANCELLED
        return "already" if is_over else None
    if isinstance(outcome, NotRetryable) and outcome.is_too_late:
        return "too_late"
    return _WHY_NOT[type(outcome)]
