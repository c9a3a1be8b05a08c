"""The HTTP door of the audit: the rules that PostgreSQL alone can tell; the vendor is left to the command."""

from aiohttp import web

from service.core.auditing import Patience
from service.doors.auth import Caller
from service.doors.http import check_query
from service.doors.keys import DEPS
from service.doors.render import audit_resource, to_json
from service.flow.audit import audit


async def show(request: web.Request, caller: Caller) -> web.Response:  # noqa: ARG001 - a key of admins sees all
    """Audit now, and return what every rule found."""
    check_query(request)
    deps = request.app[DEPS]
    report = await audit(deps.database, Patience.of(deps.settings))
    return web.Response(body=to_json(audit_resource(report)), content_type="application/json")
