"""Says whether the process lives, and whether it can do its work."""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from service import __version__
from service.core.errors import Unavailable
from service.deps import Deps
from service.doors.checks import NO_ANSWER, check_postgres, check_redis_answers, in_time
from service.doors.keys import DEPS
from service.doors.operation import Parameter, Reply, operation
from service.doors.render import to_json
from service.doors.resources import Health, HeldResource, Readiness
from service.gateways.store.held import Held, find_held

_MOST_HOLDS = 100


_VERBOSE = Parameter(
    name="verbose",
    place="query",
    description="Say also what was checked, and what holds work back; any value.",
    schema={"type": "string", "maxLength": 100},
)


@operation(
    "Ask whether the process lives", replies={200: Reply(description="The event loop turns.", shape=Health)}
)
async def live(_request: web.Request) -> web.Response:
    """Say that the event loop turns."""
    return answer_health({"status": "ok", "version": __version__}, 200)


@operation(
    "Ask whether requests can be accepted",
    parameters=(_VERBOSE,),
    replies={
        200: Reply(description="They can; `degraded` without Redis.", shape=Readiness),
        503: Reply(description="They cannot, since PostgreSQL is away.", shape=Readiness),
    },
)
async def ready(request: web.Request) -> web.Response:
    """Say whether requests can be accepted: 200 with Postgres, 503 without.

    Without Redis requests are accepted all the same and wait, so that is no reason to turn callers away.
    """
    deps = request.app[DEPS]
    postgres, redis = await asyncio.gather(
        in_time(check_postgres(deps), otherwise=NO_ANSWER),
        in_time(check_redis_answers(deps), otherwise=NO_ANSWER),
    )
    is_ready = postgres == "ok"
    status = "ok" if is_ready and redis == "ok" else "degraded" if is_ready else "unavailable"
    answer: dict[str, object] = {"status": status}
    if "verbose" in request.query:
        held = await in_time(_find_held(deps), otherwise=()) if is_ready else ()
        checks = {"postgres": postgres, "redis": redis}
        answer |= {"version": __version__, "checks": checks, "holds": [held_resource(one) for one in held]}
    return answer_health(answer, 200 if is_ready else 503)


async def _find_held(deps: Deps) -> Sequence[Held]:
    try:
        async with deps.health_database.connection() as connection:
            return await find_held(connection, most=_MOST_HOLDS)
    except Unavailable:
        return ()


def held_resource(held: Held) -> HeldResource:
    """Return what holds work back as the contract shows it."""
    return {
        "project_id": held.place.project_id if held.place else None,
        "workspace": held.place.workspace if held.place else None,
        "reason": held.reason,
        "since": held.since,
        "until": held.until,
    }


def answer_health(value: object, status: int) -> web.Response:
    """Write the answer of a health check."""
    headers = {"Retry-After": "2"} if status != 200 else {}  # noqa: PLR2004 - HTTP's own number
    return web.Response(body=to_json(value), status=status, headers=headers, content_type="application/json")
