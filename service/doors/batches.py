"""The HTTP door of batches: what went to the vendor together, and every call that was made for it."""

from aiohttp import web

from service.doors import problems
from service.doors.auth import Caller
from service.doors.http import check_query
from service.doors.keys import DEPS
from service.doors.parameters import read_id
from service.doors.problems import ProblemError
from service.doors.render import batch_resource, to_json
from service.flow import status


async def show(request: web.Request, caller: Caller) -> web.Response:
    """Return a batch with its members and attempts."""
    check_query(request)
    batch = await status.find_batch(request.app[DEPS], read_id(request), visible=caller.visible)
    if batch is None:
        raise ProblemError(problems.not_found("batch"))
    return web.Response(body=to_json(batch_resource(batch)), content_type="application/json")
