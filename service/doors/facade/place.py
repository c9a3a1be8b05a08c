"""The project and the workspace of a call, as far as its caller may see them."""

from aiohttp import web

from service.core.identifiers import is_identifier
from service.core.place import Place
from service.deps import Deps
from service.doors.auth import Caller
from service.doors.facade.form import VendorForm, VendorFormError, header_missing, not_published


def read_place(request: web.Request, caller: Caller, deps: Deps) -> Place:
    """Return where a call belongs: the project of its path, and the workspace of its header or of the settings.

    Raises:
        VendorFormError: there is no workspace, or none that the caller may see.
    """
    project_id = request.match_info["project_id"]
    given = request.headers.getall("workspace", [])
    workspace = ",".join(given) or deps.settings.default_workspace
    if not workspace:
        raise VendorFormError(header_missing("workspace"))
    if not is_identifier(project_id) or not caller.may_use(project_id, workspace):
        raise VendorFormError(not_published())
    if not is_identifier(workspace):
        raise VendorFormError(_no_such_workspace())
    return Place(project_id=project_id, workspace=workspace)


def _no_such_workspace() -> VendorForm:
    return VendorForm(status=400, error_code="DLF.20819", error_msg="The workspace does not exist.")
