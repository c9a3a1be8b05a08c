"""One trace id joins intake, batch and call."""

import json

from aiohttp import web

from tests.gateways.vendor.web_server import serving
from tests.main_job.conftest import StackWith
from tests.support.processes import ServiceProcess
from tests.support.stack import body

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


async def test_one_trace_joins_intake_batch_and_call(stack_with: StackWith) -> None:
    """The trace of a caller is in the line of its HTTP request, in those of its batch, and in the vendor's headers."""
    heard = []

    async def make_package(request: web.Request) -> web.Response:
        heard.append(request.headers.get("traceparent"))
        return web.json_response({"package_name": "any", "release_package_id": "1"})

    async with serving(make_package) as vendor, stack_with(RELEASE_LOG_LEVEL="debug") as stack:
        api = await stack.start_api()
        worker = await stack.start_worker(RELEASE_VENDOR_URL=vendor, RELEASE_VENDOR_AUTH="none")
        accepted = await stack.submit(body("1"), traceparent=TRACEPARENT)
        await stack.wait_for(accepted["id"], "released")
        await worker.wait_for_line("batch.released")

    assert heard == [TRACEPARENT]
    assert traced(api) == {"http.served"}
    assert {"batch.sealed", "batch.released"} <= traced(worker)


def traced(process: ServiceProcess) -> set[str]:
    """Return the events of the lines that have the trace."""
    lines = [json.loads(line) for line in process.stderr.splitlines()]
    return {line["event"] for line in lines if line.get("trace_id") == TRACE}
