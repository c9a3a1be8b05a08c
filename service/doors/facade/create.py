"""The call that makes a release package: accepted as a release request, answered when it is done.

A caller that gave up and comes again with the same body finds the same request.
"""

import json
from typing import assert_never

import orjson
from aiohttp import web

from service.core.model import ItemState, RequestState
from service.core.place import Place
from service.doors import problems
from service.doors.auth import Scope
from service.doors.facade.bodies import read_object
from service.doors.facade.form import (
    INVALID_PARAMETER,
    VendorForm,
    VendorFormError,
    invalid_parameter,
    of_problem,
    respond,
    timed_out,
)
from service.doors.facade.identity import ProvenCall
from service.doors.facade.keys import FACADE_AUTHENTICATOR, READS
from service.doors.facade.place import read_place
from service.doors.facade.shapes import WORKSPACE, MadePackage, PackageBody
from service.doors.http import HTTP_REQUEST_ID, IS_PATIENT, traceparent_of
from service.doors.keys import DEPS, INTAKE
from service.doors.operation import Reply, operation
from service.doors.waiting import patience_of
from service.flow import status
from service.flow.accept import Envelope
from service.flow.accept_once import Begun, accept_once, note_told
from service.gateways.store.reading import RequestView

REQUEST_HEADER = "X-Release-Request-Id"
_LONGEST_LIST = 10


@operation(
    "Make a release package",
    parameters=(WORKSPACE,),
    body=PackageBody,
    replies={
        200: Reply(
            description="Released.",
            shape=MadePackage,
            headers={REQUEST_HEADER: "The release request behind it."},
        )
    },
    problems=(408, 413, 415, 429, 504),
)
async def create(request: web.Request, call: ProvenCall) -> web.Response:
    """Make a release package of pending items, and answer with its id.

    The same body again is the same request, until its caller was told that it ended without a release.
    """
    request[IS_PATIENT] = True
    place = read_place(request, call.caller, request.app[DEPS])
    outcome = await accept_once(
        request.app[DEPS],
        request.app[INTAKE],
        _envelope_of(request, call, place),
        seen_at=call.sighting.first_seen_at if call.sighting else None,
    )
    if not isinstance(outcome, Begun):
        raise VendorFormError(of_problem(problems.of_refusal(outcome)))
    return await _answer(request, call, place, outcome)


def _envelope_of(request: web.Request, call: ProvenCall, place: Place) -> Envelope:
    given = read_object(request, call)
    _check_members(given, most_items=request.app[DEPS].settings.batch_max_items)
    # Others are let be, as the vendor does.
    members = {name: given[name] for name in PackageBody.model_fields if name in given}
    parsed = {"project_id": place.project_id, "workspace": place.workspace, **members}
    return Envelope(
        caller=call.caller.name,
        idempotency_key=None,
        traceparent=traceparent_of(request),
        may_use=call.caller.may_use,
        may_apply_for=call.caller.may_apply_for,
        parsed=parsed,
        raw=json.dumps(parsed).encode(),
    )


def _check_members(members: dict[str, object], *, most_items: int) -> None:
    """Refuse what a release request may do without, or have more of, and a package may not.

    Raises:
        VendorFormError: there is no name for the package, or more items than it may have.
    """
    if members.get("package_name") is None:
        raise VendorFormError(invalid_parameter("/package_name: Expected this member; it is missing."))
    items = members.get("pending_item_list")
    if isinstance(items, list) and len(items) > most_items:
        raise VendorFormError(
            invalid_parameter(
                f"/pending_item_list: Expected at most {most_items} entries; given {len(items)}."
            )
        )


async def _answer(request: web.Request, call: ProvenCall, place: Place, begun: Begun) -> web.Response:
    deps, visible = request.app[DEPS], call.caller.visible
    patience = patience_of(request, deps.settings.facade_wait)
    await status.wait_until_done(deps, begun.request_id, visible=visible, patience=patience)
    request.app[READS].forget_place(place)
    await request.app[FACADE_AUTHENTICATOR].check_again(request, call, Scope.SUBMIT)
    view = await status.find_request(deps, begun.request_id, visible=visible)
    answer = timed_out("the release request is gone") if view is None else answer_of(view)
    if view is not None and _ended_unreleased(view) and request.transport is not None:
        await note_told(deps, begun)
    response = _render(answer, request[HTTP_REQUEST_ID])
    response.headers[REQUEST_HEADER] = str(begun.request_id)
    return response


def _ended_unreleased(view: RequestView) -> bool:
    return view.state.is_done and view.state is not RequestState.RELEASED


def _render(answer: dict[str, str] | VendorForm, http_request_id: str) -> web.Response:
    if isinstance(answer, VendorForm):
        return respond(answer, http_request_id=http_request_id)
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


def answer_of(view: RequestView) -> dict[str, str] | VendorForm:
    """Say how a request stands in the vendor's words: a package, a refusal, or that nobody knows yet."""
    match view.state:
        case RequestState.RELEASED:
            return _package_of(view)
        case RequestState.PARTLY_RELEASED:
            return invalid_parameter(f"Not all items were released: {_item_by_item(view)}.")
        case RequestState.REJECTED | RequestState.FAILED | RequestState.CANCELLED | RequestState.EXPIRED:
            return _refusal_of(view)
        case (
            RequestState.ACCEPTED
            | RequestState.BATCHED
            | RequestState.RELEASING
            | RequestState.IN_DOUBT
            | RequestState.NEEDS_ATTENTION
        ):
            return timed_out(
                f"release request {view.request_id} is {view.state.value}; send the same call again to learn its result"
            )
        case _:
            assert_never(view.state)


def _package_of(view: RequestView) -> dict[str, str] | VendorForm:
    packages = {(item.package_name, item.release_package_id) for item in view.items}
    name, package_id = next(iter(packages))
    if len(packages) > 1 or name is None or package_id is None:
        # The items were in other requests before, or were parted: one package id would be half the truth.
        return invalid_parameter(f"All items are released, in more than one package: {_item_by_item(view)}.")
    return {"package_name": name, "release_package_id": package_id}


def _item_by_item(view: RequestView) -> str:
    parts = [
        f"item {item.pending_item_id} is in package {item.release_package_id}"
        if item.state is ItemState.RELEASED
        else f"item {item.pending_item_id} is {item.state.value}, {_words_of(item.error)[1]}"
        for item in view.items[:_LONGEST_LIST]
    ]
    left = len(view.items) - len(parts)
    return "; ".join([*parts, *([f"and {left} more"] if left else [])])


def _refusal_of(view: RequestView) -> VendorForm:
    code, message = _words_of(view.error)
    return VendorForm(status=400, error_code=code, error_msg=message)


def _words_of(error: dict[str, object] | None) -> tuple[str, str]:
    """Return the vendor's code and words, untouched; where it said nothing, ours under its catch-all code."""
    if error is None:
        return INVALID_PARAMETER, "it was ended without a release"
    vendor = error.get("vendor")
    words = vendor if isinstance(vendor, dict) else {}
    code, message = words.get("error_code"), words.get("error_msg")
    if code and message:
        return str(code), str(message)
    return INVALID_PARAMETER, str(error.get("message") or error.get("code"))
