"""Names under which the HTTP application keeps what its handlers use."""

from aiohttp import web

from service.deps import Deps
from service.doors.auth import Authenticator
from service.doors.line_budget import LineBudget
from service.doors.scraper import Scraper
from service.doors.turns import Turns
from service.flow.intake import Intake

AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
DEPS = web.AppKey("deps", Deps)
SCRAPER = web.AppKey("scraper", Scraper)
INTAKE = web.AppKey("intake", Intake)
#: The OpenAPI document, as JSON.
ODD_LINES = web.AppKey("odd_lines", LineBudget)
OPENAPI = web.AppKey("openapi", bytes)
LIST_TURNS = web.AppKey("list_turns", Turns)
LARGE_BODY_TURNS = web.AppKey("large_body_turns", Turns)
