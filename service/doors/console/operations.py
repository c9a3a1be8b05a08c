"""The pages of operations: what would happen to all requests that match a filter, and how far it has come."""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never
from urllib.parse import urlencode

from aiohttp import web

from service.core.ids import new_id
from service.core.operations import MOST_TARGETS, Operation, OperationAction, Progress
from service.core.request_filter import LABEL_PREFIX, BadFilter, RequestFilter
from service.doors import action_problems, problems
from service.doors.console.lists import path_of, read_list
from service.doors.console.requests import FIELDS, actor_of, members_of, read_fields
from service.doors.console.ticked import read_action
from service.doors.console.visit import Visit
from service.doors.http import HTTP_REQUEST_ID
from service.doors.operations import check_applicants, no_operation, owner_of
from service.doors.parameters import read_id
from service.doors.problems import ProblemError
from service.flow import operations
from service.flow.operations import CountChanged, NoSuchOperation, NotRunning, Preview, TooMany
from service.gateways.store.operation_lists import list_operations


async def preview(visit: Visit) -> web.StreamResponse:
    """Show how many requests match, with a sample, and ask for a reason; nothing is changed."""
    action, fields = read_action(visit.request.query.get("action", "")), _fields_of(visit.request.query)
    check_applicants(visit.known_caller, action)
    wanted = read_fields(fields)
    if isinstance(wanted, BadFilter):
        return _render_preview(visit, action, fields, flaw=wanted.detail)
    if wanted.is_empty:
        return _render_preview(visit, action, fields, flaw=visit.words("operation.empty_filter"))
    found = await operations.preview(visit.deps, action, wanted, visible=visit.visible)
    if isinstance(found, TooMany):
        return _render_preview(visit, action, fields, flaw=_too_many(visit))
    return _render_preview(visit, action, fields, found=found)


def _render_preview(
    visit: Visit,
    action: OperationAction,
    fields: Mapping[str, str],
    *,
    found: Preview | None = None,
    flaw: str | None = None,
) -> web.Response:
    return visit.render(
        "operation_new.html",
        status=200 if flaw is None else 400,
        action=action.value,
        fields=fields,
        list_path=path_of("/requests", fields),
        found=found,
        flaw=flaw,
    )


def _too_many(visit: Visit) -> str:
    return visit.words("operation.too_many", most=f"{MOST_TARGETS:,}")


async def start(visit: Visit) -> web.StreamResponse:
    """Put an operation on record, where as many requests match as the page has shown."""
    form = await visit.read_form()
    action, fields = read_action(form.get("action", "")), _fields_of(form)
    check_applicants(visit.known_caller, action)
    wanted, reason, expected = _read_wanted(visit, fields), _read_reason(form), _read_count(form)
    ordered = _order(visit, action, members_of(fields), reason=reason)
    outcome = await operations.start(visit.deps, ordered, wanted, expected=expected)
    match outcome:
        case Progress():
            return visit.go_to(f"/operations/{ordered.operation_id}", notice="operation_started")
        case CountChanged():
            again = urlencode({"action": action.value, **fields})
            return visit.go_to(f"/operations/new?{again}", notice="count_changed")
        case TooMany():
            raise ProblemError(problems.invalid_parameter(_too_many(visit)))
        case _:
            assert_never(outcome)


def _order(visit: Visit, action: OperationAction, members: Mapping[str, str], *, reason: str) -> Operation:
    caller = visit.known_caller
    return Operation(
        operation_id=new_id(),
        action=action,
        filter=members,
        caller=caller.name,
        actor=caller.actor,
        visible=caller.visible,
        reason=reason,
        http_request_id=visit.request[HTTP_REQUEST_ID],
    )


def _read_wanted(visit: Visit, fields: Mapping[str, str]) -> RequestFilter:
    wanted = read_fields(fields)
    if isinstance(wanted, BadFilter):
        raise ProblemError(problems.invalid_parameter(wanted.detail))
    if wanted.is_empty:
        raise ProblemError(problems.invalid_parameter(visit.words("operation.empty_filter")))
    return wanted


def _read_reason(form: Mapping[str, str]) -> str:
    reason = form.get("reason", "").strip()[:1_000]
    if not reason:
        raise ProblemError(
            problems.invalid_parameter("Expected a reason, since every request gets it in its timeline.")
        )
    return reason


def _read_count(form: Mapping[str, str]) -> int:
    count = form.get("expect", "")
    if not (count.isascii() and count.isdigit() and len(count) <= len(str(MOST_TARGETS))):
        raise ProblemError(problems.invalid_parameter("Expected the count that the page has shown."))
    return int(count)


async def index(visit: Visit) -> web.StreamResponse:
    """Show the operations of who looks, the newest first; to an admin of all workspaces everybody's."""
    view, owner = read_list(visit.request, ()), owner_of(visit.known_caller)
    found = await visit.deps.database.read(
        lambda connection: list_operations(
            connection, owner=owner, before=view.page.behind_id, limit=view.page.limit
        )
    )
    rows, token = view.page.cut(found, lambda one: (str(one.operation_id),))
    return visit.render("operations.html", view=view, rows=rows, next_path=view.path_of_page(token))


async def show(visit: Visit) -> web.StreamResponse:
    """Show how far an operation has come."""
    owner = owner_of(visit.known_caller)
    operation_id = read_id(visit.request, what="operation")
    progress = await operations.find(visit.deps, operation_id, owner=owner)
    if progress is None:
        raise ProblemError(no_operation(visit.deps, operation_id))
    return visit.render("operation.html", one=progress, list_path=_list_path_of(progress.operation.filter))


async def abort(visit: Visit) -> web.StreamResponse:
    """Stop an operation; what it has done stays done."""
    operation_id, form = read_id(visit.request, what="operation"), await visit.read_form()
    actor = replace(actor_of(visit, form.get("reason", "")), owner=owner_of(visit.known_caller))
    outcome = await operations.abort(visit.deps, operation_id, actor)
    match outcome:
        case Progress():
            return visit.go_to(f"/operations/{operation_id}", notice="operation_aborted")
        case NoSuchOperation():
            raise ProblemError(no_operation(visit.deps, operation_id))
        case NotRunning(progress=progress):
            raise ProblemError(action_problems.not_running(progress.state))
        case _:
            assert_never(outcome)


def _fields_of(given: Mapping[str, str]) -> dict[str, str]:
    return {name: given[name].strip() for name in FIELDS if given.get(name, "").strip()}


def _list_path_of(members: Mapping[str, str]) -> str | None:
    """Return where the list has what a filter of the API matches; None where its form has too few fields for that."""
    labels = {name: text for name, text in members.items() if name.startswith(LABEL_PREFIX)}
    fields = {name: text for name, text in members.items() if name not in labels}
    match list(labels.items()):
        case []:
            return path_of("/requests", fields)
        case [(name, text)]:
            return path_of("/requests", {**fields, "label": f"{name.removeprefix(LABEL_PREFIX)}={text}"})
        case _:
            return None
