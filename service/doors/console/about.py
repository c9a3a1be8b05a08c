"""The page about this service: which versions run, on which servers, and with which settings."""

import asyncio
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version

from aiohttp import web

from service.core.errors import QueueUnavailable
from service.doors.auth import Scope
from service.doors.console.visit import Visit
from service.gateways.servers import RedisServer, describe_redis
from service.gateways.store.about import describe_database

_DISTRIBUTION = "batch-release"
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)")
_REDIS_SECONDS = 1.0


async def show(visit: Visit) -> web.StreamResponse:
    """Show versions to everybody; servers and settings to admins of all workspaces."""
    caller = visit.known_caller
    is_told_all = visit.may(Scope.ADMIN) and caller.sees_all
    database = await visit.deps.database.read(describe_database)
    return visit.render(
        "about.html",
        python=platform.python_version(),
        schema=database.schema,
        libraries=libraries(),
        database=database if is_told_all else None,
        redis=await _redis_of(visit) if is_told_all else None,
        settings=list(visit.deps.settings.shown()) if is_told_all else None,
    )


def libraries() -> dict[str, str]:
    """Return the libraries that this service needs at run time, with the versions that are there."""
    try:
        needed = [one for one in requires(_DISTRIBUTION) or () if "extra ==" not in one]
    except PackageNotFoundError:
        return {}
    names = [found[1] for one in needed if (found := _REQUIREMENT.match(one))]
    return {name: installed for name in sorted(names) if (installed := _version_of(name))}


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


async def _redis_of(visit: Visit) -> RedisServer | None:
    """Describe Redis; the page does not wait for one that is away."""
    try:
        async with asyncio.timeout(_REDIS_SECONDS):
            return await describe_redis(visit.deps.redis)
    except (QueueUnavailable, TimeoutError):
        return None
