"""The HTTP door of the audit and of the audit trail, for admins."""

from aiohttp import web

from service.core.audit_trail import KeptEntry
from service.core.auditing import Patience
from service.doors import problems
from service.doors.auth import Caller
from service.doors.keys import DEPS
from service.doors.operating_resources import AuditLogPage, AuditResource
from service.doors.operation import Parameter, Reply, operation
from service.doors.paging import read_page
from service.doors.parameters import PAGE_SIZE, PAGE_TOKEN
from service.doors.problems import ProblemError
from service.doors.render import audit_log_entry, audit_resource, json_response
from service.flow.audit import audit
from service.gateways.store.audit_log import TrailFilter, list_entries

_ACTION = Parameter(
    name="action",
    place="query",
    description="Only this action, such as `workspace.paused`.",
    schema={"type": "string", "maxLength": 100},
)
_TARGET = Parameter(
    name="target",
    place="query",
    description="Only what was done to this: an id, or `PROJECT/WORKSPACE`.",
    schema={"type": "string", "maxLength": 200},
)


@operation(
    "Audit the data now",
    replies={200: Reply(description="What every rule found.", shape=AuditResource)},
)
async def show(request: web.Request, caller: Caller) -> web.Response:
    """Audit now, and return what every rule found, for an admin of all workspaces.

    The rules are those that PostgreSQL alone can tell; the vendor is left to the command.
    """
    if not caller.sees_all:
        raise ProblemError(problems.forbidden("a key for all workspaces: the audit tells of every one"))
    deps = request.app[DEPS]
    report = await audit(deps.database, Patience.of(deps.settings))
    return json_response(audit_resource(report))


@operation(
    "Read the audit trail",
    parameters=(_ACTION, _TARGET, PAGE_SIZE, PAGE_TOKEN),
    replies={200: Reply(description="A page of it, newest first.", shape=AuditLogPage)},
    problems=(400,),
)
async def log(request: web.Request, caller: Caller) -> web.Response:
    """Return who changed what, when and why; nobody can change or delete an entry."""
    page = read_page(request, "audit-log")
    wanted = TrailFilter(action=request.query.get("action"), target=request.query.get("target"))
    entries = await request.app[DEPS].database.read_one_moment(
        lambda connection: list_entries(
            connection, wanted, visible=caller.visible, before=page.behind_id, limit=page.limit
        )
    )
    shown, token = page.cut(entries, _position_of)
    return json_response({"entries": [audit_log_entry(entry) for entry in shown], "next_page_token": token})


def _position_of(kept: KeptEntry) -> tuple[str, ...]:
    return (str(kept.entry_id),)
