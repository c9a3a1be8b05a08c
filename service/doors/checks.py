"""Checks of what a process needs, each for a second at most."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from service.core.errors import MigrationError, Unavailable
from service.deps import Deps, check_redis, check_schema

T = TypeVar("T")

_CHECK_WITHIN_SECONDS = 1.0
NO_ANSWER = "no answer"


async def in_time(check: Coroutine[Any, Any, T], *, otherwise: T) -> T:
    """Return what a check says within a second; one on a dead connection is not waited for, it ends more slowly."""
    checking = asyncio.create_task(check)
    await asyncio.wait({checking}, timeout=_CHECK_WITHIN_SECONDS)
    if checking.done():
        return checking.result()
    checking.cancel()
    return otherwise


async def check_postgres(deps: Deps) -> str:
    """Say whether PostgreSQL answers, with the schema of this version."""
    try:
        await check_schema(deps.health_database)
    except Unavailable:
        return NO_ANSWER
    except MigrationError as error:
        return str(error)
    return "ok"


async def check_redis_answers(deps: Deps) -> str:
    """Say whether Redis answers."""
    try:
        await check_redis(deps.redis)
    except Unavailable:
        return NO_ANSWER
    return "ok"
