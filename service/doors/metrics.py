"""The figures of a process for Prometheus, and of the whole as it sees it."""

from aiohttp import web

from service.doors.keys import SCRAPER
from service.doors.operation import Reply, operation
from service.gateways.metrics.exposition import form_for


@operation(
    "Read the figures for Prometheus",
    replies={
        200: Reply(
            description="The figures as text, or as OpenMetrics where that is accepted.",
            shape=str,
            media_type="text/plain",
        )
    },
)
async def scrape(request: web.Request) -> web.Response:
    """Return what this process has counted, and what PostgreSQL and Redis say at this moment.

    Without PostgreSQL or Redis the answer has the figures of the process, and says what is away.
    """
    scraped = await request.app[SCRAPER].scrape(form_for(request.headers.get("Accept", "")))
    return web.Response(body=scraped.body, headers={"Content-Type": scraped.content_type})
