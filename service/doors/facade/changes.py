"""Changes of packages that are there, deployed or ended: passed on once, and in the audit trail."""

from aiohttp import web

from service.core.identifiers import is_identifier
from service.doors.facade.bodies import read_object
from service.doors.facade.form import VendorFormError, invalid_parameter, timed_out
from service.doors.facade.identity import ProvenCall
from service.doors.facade.keys import CHANGES, READS
from service.doors.facade.memory import Asked
from service.doors.facade.passing import access_of, render
from service.doors.facade.place import read_place
from service.doors.facade.reads import vendor_call
from service.doors.facade.shapes import (
    DONE,
    MOST_PACKAGES,
    OF_PASSED_ON,
    PASSED_ON,
    WORKSPACE,
    PackageIds,
)
from service.doors.http import HTTP_REQUEST_ID
from service.doors.keys import DEPS
from service.doors.operation import operation
from service.flow.package_changes import ChangeOrder, PackageChange, change_packages
from service.gateways.permits import Refused
from service.gateways.vendor.client import Forwarded
from service.gateways.vendor.endpoints import deploy_path, unpack_path


@operation(
    "Deploy release packages",
    parameters=(WORKSPACE,),
    body=PackageIds,
    replies={200: PASSED_ON},
    problems=(408, 413, 415, *OF_PASSED_ON),
)
async def deploy(request: web.Request, call: ProvenCall) -> web.StreamResponse:
    """Deploy release packages."""
    place = read_place(request, call.caller, request.app[DEPS])
    asked = Asked(place=place, method="POST", path=deploy_path(place.project_id), body=call.body)
    return await _change(request, call, asked, PackageChange.DEPLOYED)


@operation(
    "End release packages",
    parameters=(WORKSPACE,),
    body=PackageIds,
    replies={200: DONE},
    problems=(408, 413, 415, *OF_PASSED_ON),
)
async def unpack(request: web.Request, call: ProvenCall) -> web.StreamResponse:
    """End release packages that are not deployed."""
    place = read_place(request, call.caller, request.app[DEPS])
    asked = Asked(place=place, method="POST", path=unpack_path(place.project_id), body=call.body)
    return await _change(request, call, asked, PackageChange.UNPACKED)


async def _change(
    request: web.Request, call: ProvenCall, wanted: Asked, change: PackageChange
) -> web.StreamResponse:
    access, deps = access_of(request), request.app[DEPS]
    order = ChangeOrder(
        change=change,
        package_ids=_package_ids(read_object(request, call)),
        actor=call.caller.actor,
        http_request_id=request[HTTP_REQUEST_ID],
    )
    vendors = vendor_call(request, wanted)

    async def carry_out() -> Forwarded | Refused:
        try:
            return await change_packages(deps, access, vendors, order)
        finally:
            request.app[READS].forget_place(wanted.place)

    if call.signature is None or call.sighting is None:
        return render(request, await carry_out())
    changes = request.app[CHANGES]
    if call.sighting.times_seen > 1 and call.signature not in changes:
        raise VendorFormError(
            timed_out("another process carries this very call out; the lists tell what came of it")
        )
    return render(request, await changes.share(call.signature, carry_out))


def _package_ids(members: dict[str, object]) -> tuple[str, ...]:
    given = members.get("package_ids")
    ids = tuple(str(each) for each in given) if isinstance(given, list) else ()
    if not 1 <= len(ids) <= MOST_PACKAGES or not all(is_identifier(each) for each in ids):
        raise VendorFormError(
            invalid_parameter(f"/package_ids: Expected 1 to {MOST_PACKAGES} ids of packages.")
        )
    return ids
