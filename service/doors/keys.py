"""Names under which the HTTP application keeps what its handlers use."""

from aiohttp import web

from service.deps import Deps
from service.doors.auth import Authenticator
from service.flow.intake import Intake

AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
DEPS = web.AppKey("deps", Deps)
INTAKE = web.AppKey("intake", Intake)
#: The OpenAPI document, as JSON.
OPENAPI = web.AppKey("openapi", bytes)
