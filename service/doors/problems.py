"""Problems: every error that leaves the service, as RFC 9457 says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, assert_never
from uuid import UUID

import orjson
from aiohttp import web

from service.core.caps import TooMuchWaiting
from service.core.errors import Unavailable
from service.core.ids import is_older_than
from service.core.json_input import Malformed
from service.core.submission import Invalid
from service.flow.accept import NotAllowed, NotApplicant, Refusal
from service.flow.accept_group import ItemConflict, KeyReused

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error: a stable code, a status, and a sentence for this very case."""

    status: int
    code: str
    title: str
    detail: str
    #: Members beside the standard ones, such as ``errors``.
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self, *, instance: str | None = None, http_request_id: str | None = None) -> dict[str, Any]:
        """Return the members of the problem's JSON."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "request_id": http_request_id,
            **self.members,
        }


class ProblemError(Exception):
    """Ends an HTTP request with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def respond(problem: Problem, *, instance: str, http_request_id: str) -> web.Response:
    """Write a problem as an HTTP answer."""
    body = orjson.dumps(problem.as_dict(instance=instance, http_request_id=http_request_id))
    return web.Response(
        status=problem.status, body=body, headers=dict(problem.headers), content_type=PROBLEM_TYPE
    )


def of_refusal(refusal: KeyReused | ItemConflict | Refusal) -> Problem:
    """Say why a release request was not accepted."""
    match refusal:
        case KeyReused():
            return key_reused(refusal)
        case ItemConflict():
            return item_conflict(refusal)
        case Malformed(detail=detail):
            return malformed_json(detail)
        case Invalid():
            return invalid_request(refusal)
        case NotAllowed() | NotApplicant():
            return not_allowed(refusal)
        case TooMuchWaiting():
            return too_much_waiting(refusal)
        case _:
            assert_never(refusal)


def invalid_request(invalid: Invalid) -> Problem:
    """Say everything that is wrong with a body."""
    count = len(invalid.errors)
    return Problem(
        status=422,
        code="invalid-request",
        title="The body is not valid.",
        detail=f"{count} thing{'s' if count > 1 else ''} to correct: see errors.",
        members={
            "errors": [
                {"pointer": error.pointer, "code": error.code, "detail": error.detail}
                for error in invalid.errors
            ]
        },
    )


def malformed_json(detail: str) -> Problem:
    """Say why a body cannot be read."""
    return Problem(
        status=400, code="malformed-json", title="The body is not JSON that can be taken.", detail=detail
    )


def invalid_parameter(detail: str) -> Problem:
    """Say what is wrong with a query parameter or header."""
    return Problem(
        status=400, code="invalid-parameter", title="A parameter or header is not valid.", detail=detail
    )


def foreign_page_token() -> Problem:
    """Say that a page token is not one of the list."""
    return invalid_parameter(
        "Expected page_token to be a next_page_token of this list with the same filters; given another."
    )


def key_reused(outcome: KeyReused) -> Problem:
    """Say that an idempotency key stands for another body."""
    return Problem(
        status=422,
        code="idempotency-key-reused",
        title="The idempotency key was used with another body.",
        detail=f"Expected the body of release request {outcome.request_id}, or a new key.",
        members={"release_request_id": str(outcome.request_id)},
    )


def item_conflict(outcome: ItemConflict) -> Problem:
    """Say who holds an item."""
    return Problem(
        status=409,
        code="item-conflict",
        title="A pending item is held by a request with another applicant or other approvers.",
        detail=f"Pending item {outcome.pending_item_id} belongs to release request {outcome.request_id}.",
        members={
            "pending_item_id": outcome.pending_item_id,
            "release_request_id": str(outcome.request_id),
        },
    )


def too_much_waiting(refusal: TooMuchWaiting) -> Problem:
    """Say which cap leaves no room."""
    return Problem(
        status=429,
        code="too-much-waiting",
        title="Too many items wait already.",
        detail=(
            f"{refusal.cap_name} lets {refusal.cap} items wait and {refusal.waiting} do; this request for "
            f"{refusal.place} has {refusal.more} more. Nothing accepted is lost."
        ),
        members={
            "cap": refusal.cap_name,
            "limit": refusal.cap,
            "project_id": refusal.place.project_id,
            "workspace": refusal.place.workspace,
        },
        headers={"Retry-After": "5"},
    )


def not_found(what: str) -> Problem:
    """Say that there is no such thing, or none that the caller may see."""
    return Problem(
        status=404, code="not-found", title="There is no such resource.", detail=f"No {what} of this id."
    )


def missing(what: str, given: UUID, *, kept_for: timedelta) -> Problem:
    """Say that there is no such thing any more, where its id is so old that it may have been pruned; else as ever."""
    if not kept_for or not is_older_than(kept_for, given):
        return not_found(what)
    return Problem(
        status=410,
        code="gone",
        title="There is no such resource any more.",
        detail=f"No {what} of this id. What ended more than {kept_for / timedelta(days=1):g} days ago is deleted.",
    )


def unavailable(detail: str) -> Problem:
    """Say that a part that is needed does not answer, and that nothing was lost."""
    return Problem(
        status=503,
        code="unavailable",
        title="The service cannot answer at the moment.",
        detail=f"{detail}. Ask again with the same Idempotency-Key: it is safe.",
        headers={"Retry-After": "2"},
    )


def unavailable_by(error: Unavailable) -> Problem:
    """Say which part does not answer; each kind of outage has its words in its docstring."""
    return unavailable((error.__doc__ or "A part is away").rstrip("."))


def unauthorized() -> Problem:
    """Say that a key is missing or not good."""
    return Problem(
        status=401,
        code="unauthorized",
        title="An API key is needed.",
        detail="Expected Authorization: Bearer <key>, or X-Auth-Token: <key>, with a live key.",
        headers={"WWW-Authenticate": 'Bearer realm="batch-release"'},
    )


def rate_limited(seconds: float, *, what: str) -> Problem:
    """Say that a key is used too often."""
    return Problem(
        status=429,
        code="rate-limited",
        title="Too many HTTP requests.",
        detail=f"Expected fewer HTTP requests a second with {what}.",
        headers={"Retry-After": str(max(1, math.ceil(seconds)))},
    )


def forbidden(expected: str) -> Problem:
    """Say which key would be let in."""
    return Problem(
        status=403, code="forbidden", title="The API key may not do this.", detail=f"Expected {expected}."
    )


def not_allowed(outcome: NotAllowed | NotApplicant) -> Problem:
    """Say which workspace, or which applicant, a key is not for."""
    match outcome:
        case NotAllowed():
            return forbidden(f"a key for the workspace {outcome.project_id}/{outcome.workspace}")
        case NotApplicant():
            return forbidden(f"a key that may apply for {outcome.apply_user_id}")
        case _:
            assert_never(outcome)


def strange_entry(detail: str) -> Problem:
    """Say why an entry of the queue is not run; seen among the rejects."""
    return Problem(status=400, code="strange-entry", title="The entry is no job that is run.", detail=detail)


def internal_error() -> Problem:
    """Say that something is broken, and nothing more."""
    return Problem(
        status=500,
        code="internal-error",
        title="Something is broken in the service.",
        detail="It has been logged under the request_id of this answer.",
    )


_OF_STATUS = {
    404: ("not-found", "There is no such resource."),
    405: ("method-not-allowed", "The resource does not take this method."),
    413: ("too-large", "The body is too large."),
}


def of_http_exception(error: web.HTTPException) -> Problem:
    """Turn an error of aiohttp's own into a problem."""
    code, title = _OF_STATUS.get(error.status, (f"http-{error.status}", error.reason))
    kept = {name: value for name, value in error.headers.items() if name in ("Allow", "Retry-After")}
    return Problem(status=error.status, code=code, title=title, detail=_detail_of(error), headers=kept)


def _detail_of(error: web.HTTPException) -> str:
    match error:
        case web.HTTPRequestEntityTooLarge():
            return "Expected at most 1 MiB."
        case web.HTTPMethodNotAllowed():
            return f"Expected {' or '.join(sorted(error.allowed_methods))}; given {error.method}."
        case _:
            return error.reason
