"""What every peer does alike: take a request, make one call for it, write its result."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import orjson
from aiohttp import web

PATH = "/v2/project/factory/pending-items/package"
DONE = (
    "INSERT INTO requests (id, key, body, package_id, done_at) VALUES ($1, '', '', $2, clock_timestamp())"
    " ON CONFLICT DO NOTHING"
)
#: Jobs of one worker at once, and tries of a job: enough of both.
JOBS = 100
TRIES = 1_000
RETRY_SECONDS = 1.0

Job = dict[str, Any]
Enqueue = Callable[[Job], Awaitable[object]]


class NotReleasedError(Exception):
    """The vendor did not release the items; try again."""


class Releaser:
    """Makes the call of a job, and keeps its result."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", http: aiohttp.ClientSession) -> None:
        self._pool = pool
        self._http = http

    async def release(self, job: Job) -> None:
        """Do a job.

        Raises:
            NotReleasedError: the vendor refused, or gave no answer.
        """
        body = job["body"]
        call = {
            "apply_user_id": body["apply_user_id"],
            "package_name": f"release-{job['id']}",
            "pending_item_list": body["pending_item_list"],
            "approver_ids": body["approver_ids"],
        }
        headers = {"workspace": body["workspace"], "Content-Type": "application/json"}
        try:
            async with self._http.post(PATH, data=orjson.dumps(call), headers=headers) as response:
                answer = await response.read()
        except aiohttp.ClientError as error:
            raise NotReleasedError from error
        if response.status != HTTPStatus.OK:
            raise NotReleasedError
        await self._pool.execute(DONE, UUID(job["id"]), orjson.loads(answer)["release_package_id"])


@asynccontextmanager
async def open_releaser() -> AsyncIterator[Releaser]:
    """Open connections to Postgres and to the vendor, and say that the worker is ready."""
    async with (
        asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], min_size=4, max_size=16) as pool,
        aiohttp.ClientSession(
            os.environ["BENCH_VENDOR_URL"], connector=aiohttp.TCPConnector(limit=0)
        ) as http,
    ):
        print("ready", flush=True)  # noqa: T201 - read by the parent
        yield Releaser(pool, http)


def build_intake(opened: Callable[[], AsyncIterator[Enqueue]]) -> web.Application:
    """Put an application together that enqueues one job a request."""
    app = web.Application()
    enqueue = web.AppKey("enqueue", object)

    async def open_queue(app: web.Application) -> AsyncIterator[None]:
        async for opened_queue in opened():
            app[enqueue] = opened_queue
            yield

    async def accept(request: web.Request) -> web.Response:
        job = {"id": str(uuid4()), "body": orjson.loads(await request.read())}
        put: Any = request.app[enqueue]
        await put(job)
        return web.Response(body=orjson.dumps({"id": job["id"]}), status=202, content_type="application/json")

    app.cleanup_ctx.append(open_queue)
    app.router.add_post("/requests", accept)
    return app
