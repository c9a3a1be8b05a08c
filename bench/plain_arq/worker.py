"""One arq job a release request: call the vendor, keep the answer in Redis, let arq try again when it goes wrong.

The settings are kind to it: a killed worker's job is run again after 13 s, where arq's default is 310 s.
"""

import os
from typing import Any, ClassVar

import aiohttp
from arq import Retry
from arq.connections import RedisSettings

PATH = "/v2/{project_id}/factory/pending-items/package"


async def release(ctx: dict[str, Any], request: dict[str, Any]) -> None:
    """Release the items of a request, and keep the id of the package."""
    http: aiohttp.ClientSession = ctx["http"]
    path = PATH.format(project_id=request["project_id"])
    try:
        async with http.post(
            path, json=request["body"], headers={"workspace": request["workspace"]}
        ) as response:
            answer = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        raise Retry(defer=1) from None
    if response.status == 400:  # noqa: PLR2004 - the vendor's no
        await ctx["redis"].set(f"result:{request['id']}", "failed")
        return
    if response.status >= 300 or "release_package_id" not in answer:  # noqa: PLR2004 - not an answer to go by
        raise Retry(defer=1)
    await ctx["redis"].set(f"result:{request['id']}", answer["release_package_id"])


async def startup(ctx: dict[str, Any]) -> None:
    """Open the session."""
    ctx["http"] = aiohttp.ClientSession(os.environ["VENDOR_URL"], timeout=aiohttp.ClientTimeout(total=1))


class WorkerSettings:
    """What ``arq bench.plain_arq.worker.WorkerSettings`` reads."""

    functions: ClassVar = [release]
    on_startup = startup
    redis_settings = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://localhost"))
    job_timeout = 3
    max_tries = 10
    poll_delay = 0.05
