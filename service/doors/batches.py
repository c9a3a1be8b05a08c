"""The HTTP door of batches: what went to the vendor together, and every call that was made for it."""

from aiohttp import web

from service.doors import problems
from service.doors.auth import Caller
from service.doors.keys import DEPS
from service.doors.operation import Reply, operation
from service.doors.parameters import read_id
from service.doors.problems import ProblemError
from service.doors.render import batch_resource, json_response
from service.doors.resources import BatchResource
from service.flow import status


@operation(
    "Read a batch with its members and attempts",
    replies={200: Reply(description="The batch.", shape=BatchResource)},
    problems=(404,),
)
async def show(request: web.Request, caller: Caller) -> web.Response:
    """Return a batch with its members and attempts."""
    batch = await status.find_batch(request.app[DEPS], read_id(request), visible=caller.visible)
    if batch is None:
        raise ProblemError(problems.not_found("batch"))
    return json_response(batch_resource(batch))
