"""The figures of a process for Prometheus, and of the whole as it sees it."""

from aiohttp import web

from service.deps import Deps
from service.doors.health import NO_ANSWER, check_postgres, in_time
from service.doors.keys import DEPS, FIGURES
from service.doors.operation import Reply, operation
from service.gateways.metrics.exposition import expose


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
    deps = request.app[DEPS]
    is_database_up = await in_time(check_postgres(deps), otherwise=NO_ANSWER) != NO_ANSWER
    whole = await request.app[FIGURES].read(is_database_up=is_database_up)
    show_process(deps)
    exposed = expose(deps.metrics, whole, accept=request.headers.get("Accept", ""))
    return web.Response(body=exposed.body, headers={"Content-Type": exposed.content_type})


def show_process(deps: Deps) -> None:
    """Bring the figures up to date that are levels, not events."""
    used, idle, limit = deps.database.connections
    deps.metrics.show_process(callers_waiting=deps.changes.waiting, used=used, idle=idle, limit=limit)
