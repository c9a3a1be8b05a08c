"""Bodies of the façade: JSON objects, whatever members they have."""

from aiohttp import web

from service.core.json_input import Malformed, read_json
from service.doors.facade.form import VendorFormError, header_missing, invalid_parameter
from service.doors.facade.identity import ProvenCall
from service.doors.http import check_json_type


def read_object(request: web.Request, call: ProvenCall) -> dict[str, object]:
    """Read the JSON object in a body; which members it has is the vendor's to judge.

    Raises:
        VendorFormError: it is none, or its type is not given.
        ProblemError: it is of another type, or compressed.
    """
    if "Content-Type" not in request.headers:
        raise VendorFormError(header_missing("Content-Type"))
    check_json_type(request)
    parsed = read_json(call.body)
    if isinstance(parsed, Malformed):
        raise VendorFormError(invalid_parameter(parsed.detail))
    if not isinstance(parsed, dict):
        raise VendorFormError(invalid_parameter("Expected a JSON object."))
    return parsed
