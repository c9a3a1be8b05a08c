"""Runs the limiter's scripts, also where a key holds what none of them wrote."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import ResponseError

from service.core.telemetry import LogEvent
from service.gateways.queue import is_refusal_of_a_key

_SCRIPTS = files("service.gateways.limiter")

log = structlog.get_logger()


def limiter_script(name: str) -> str:
    """Return the text of a script of the limiter, with what stands before each."""
    return "".join(_SCRIPTS.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in ("bounds", name))


async def run_of(redis: Redis) -> str:
    """Name the run of the server: another one after each start. A server that may not be asked has no name."""
    try:
        found: str = (await redis.info("server"))["run_id"]
    except (ResponseError, KeyError):
        return "unknown"
    return found


async def is_born(redis: Redis, born: str, run: str) -> bool:
    """Tell whether the limiter's memory is of this run of the server."""
    try:
        return bool(await redis.get(born) == run.encode())
    except ResponseError:
        return False


async def run_script(
    redis: Redis,
    script: AsyncScript,
    *,
    keys: Sequence[str],
    arguments: Sequence[str | int | float],
    born: str,
) -> Any:  # noqa: ANN401 - what the script returns
    """Run a script; where one of its keys holds what no script can have written, all are forgotten, and it runs again.

    That is as if Redis had lost its memory, which ``born`` marks: nothing is allowed in the first second.
    """
    try:
        return await script(keys=keys, args=arguments)
    except ResponseError as error:
        if not is_refusal_of_a_key(error):
            raise
        log.warning(LogEvent.ENTRY_DROPPED, queue="limiter", entry=str(error))
    await redis.delete(*keys, born)
    return await script(keys=keys, args=arguments)
