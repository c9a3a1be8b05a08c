"""Reads of the vendor's lists: passed on, one call for all who ask the same at once, kept for a second."""

from aiohttp import web

from service.core.identifiers import is_identifier
from service.core.place import Place
from service.doors.facade.bodies import read_object
from service.doors.facade.form import VendorFormError, invalid_parameter, not_published
from service.doors.facade.identity import ProvenCall
from service.doors.facade.keys import READS
from service.doors.facade.memory import Asked
from service.doors.facade.passing import MAX_ANSWER_BYTES, access_of, render
from service.doors.facade.place import read_place
from service.doors.facade.shapes import (
    MOST_IN_A_PARAMETER,
    OF_PASSED_ON,
    PASSED_ON,
    WORKSPACE,
    PackageFilter,
    query,
)
from service.doors.http import traceparent_of
from service.doors.keys import DEPS
from service.doors.operation import operation
from service.flow.passing import pass_on
from service.gateways.permits import Refused
from service.gateways.vendor.calls import VendorCall
from service.gateways.vendor.client import Forwarded
from service.gateways.vendor.endpoints import (
    approvals_path,
    pending_items_path,
    release_package_path,
    release_packages_path,
)

_MOST_PARAMETERS = 50


_PENDING_ITEM_FILTERS = (
    "submit_user_name",
    "item_name",
    "update_type",
    "task_type",
    "start_time",
    "end_time",
    "limit",
    "offset",
)
_APPROVAL_FILTERS = (
    "begin_time",
    "end_time",
    "status",
    "type",
    "apply_id",
    "approver_name",
    "create_user",
    "object_name",
    "object_type",
    "limit",
    "offset",
)


@operation(
    "List pending items",
    parameters=(WORKSPACE, *query(*_PENDING_ITEM_FILTERS)),
    replies={200: PASSED_ON},
    problems=OF_PASSED_ON,
)
async def list_pending_items(request: web.Request, call: ProvenCall) -> web.StreamResponse:
    """List the pending items of a workspace."""
    place = read_place(request, call.caller, request.app[DEPS])
    return await _get(request, call, place, pending_items_path(place.project_id))


@operation(
    "List submissions and their approval",
    parameters=(WORKSPACE, *query(*_APPROVAL_FILTERS)),
    replies={200: PASSED_ON},
    problems=OF_PASSED_ON,
)
async def list_approvals(request: web.Request, call: ProvenCall) -> web.StreamResponse:
    """List the submissions of a workspace and their approval."""
    place = read_place(request, call.caller, request.app[DEPS])
    return await _get(request, call, place, approvals_path(place.project_id))


@operation("Show a release package", parameters=(WORKSPACE,), replies={200: PASSED_ON}, problems=OF_PASSED_ON)
async def show_package(request: web.Request, call: ProvenCall) -> web.StreamResponse:
    """Show a release package and what is in it."""
    place = read_place(request, call.caller, request.app[DEPS])
    package_id = request.match_info["package_id"]
    if not is_identifier(package_id):
        raise VendorFormError(not_published())
    return await _get(request, call, place, release_package_path(place.project_id, package_id))


@operation(
    "List release packages",
    parameters=(WORKSPACE,),
    body=PackageFilter,
    replies={200: PASSED_ON},
    problems=(408, 413, 415, *OF_PASSED_ON),
)
async def list_packages(request: web.Request, call: ProvenCall) -> web.StreamResponse:
    """List the release packages of a workspace; its filters are in the body."""
    place = read_place(request, call.caller, request.app[DEPS])
    read_object(request, call)
    asked = Asked(place=place, method="POST", path=release_packages_path(place.project_id), body=call.body)
    return await _pass(request, asked)


async def _get(request: web.Request, call: ProvenCall, place: Place, path: str) -> web.StreamResponse:
    if len(call.query) > _MOST_PARAMETERS:
        raise VendorFormError(invalid_parameter(f"Expected at most {_MOST_PARAMETERS} query parameters."))
    if any(len(value) > MOST_IN_A_PARAMETER for _, value in call.query):
        raise VendorFormError(
            invalid_parameter(f"Expected at most {MOST_IN_A_PARAMETER} characters a parameter.")
        )
    return await _pass(request, Asked(place=place, method="GET", path=path, query=call.query))


async def _pass(request: web.Request, asked: Asked) -> web.StreamResponse:
    access, deps = access_of(request), request.app[DEPS]
    call = vendor_call(request, asked)

    async def ask() -> Forwarded | Refused:
        return await pass_on(deps, access, call, permits=access.reads)

    return render(request, await request.app[READS].share(asked, ask))


def vendor_call(request: web.Request, asked: Asked) -> VendorCall:
    """Return the call that asks the vendor the same."""
    return VendorCall(
        method=asked.method,
        path=asked.path,
        query=asked.query,
        body=asked.body,
        project_id=asked.place.project_id,
        workspace=asked.place.workspace,
        traceparent=traceparent_of(request),
        max_bytes=MAX_ANSWER_BYTES,
    )
