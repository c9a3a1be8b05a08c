"""L3n: group commit without a timer. Each commit takes what came in during the one before; then all of it is answered.

``BENCH_BELL`` says who is woken after a commit: ``none``; ``notify``, by a NOTIFY with the keys (L4n); ``arq``, by
an arq job for each key, every 10 ms (L5n).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import asyncpg
import orjson
from aiohttp import web
from arq import create_pool
from arq.connections import RedisSettings

from bench.yardsticks.bare import serve
from bench.yardsticks.table import Request, insert, read_request

Given = TypeVar("Given")
Kept = TypeVar("Kept")
Write = Callable[[Sequence[Request]], Awaitable[Sequence[None]]]
CHANNEL = "keys"
NOTIFY = "SELECT pg_notify($1, $2)"
RING_SECONDS = 0.01


class GroupCommit(Generic[Given, Kept]):
    """Gathers requests while a commit runs."""

    def __init__(self, write: Callable[[Sequence[Given]], Awaitable[Sequence[Kept]]]) -> None:
        self._write = write
        self._waiting: list[tuple[Given, asyncio.Future[Kept]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, request: Given) -> Kept:
        """Return what became of the request when it is committed."""
        committed: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, committed))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await committed

    async def _write_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            kept = await self._write([request for request, _ in group])
            for (_, committed), each in zip(group, kept, strict=True):
                committed.set_result(each)
        self._writing = None


class ArqBell:
    """Enqueues one job for each key that has something new, off the way of the requests."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    async def ring_for_ever(self) -> None:
        """Ring now and then."""
        redis = await create_pool(RedisSettings.from_dsn(os.environ["BENCH_REDIS_URL"]))
        while True:
            keys, self.keys = self.keys, set()
            for key in keys:
                await redis.enqueue_job("empty", key, _job_id=key)
            await asyncio.sleep(RING_SECONDS)


def build_app() -> web.Application:
    """Put the application together."""
    app = web.Application()
    group = web.AppKey("group", GroupCommit[Request, None])

    async def open_all(app: web.Application) -> AsyncIterator[None]:
        connection = await asyncpg.connect(os.environ["BENCH_DATABASE_URL"])
        bell = ArqBell()
        app[group] = GroupCommit(_writer(connection, bell))
        ringing = asyncio.create_task(bell.ring_for_ever()) if _bell() == "arq" else None
        yield
        if ringing is not None:
            ringing.cancel()
            with suppress(asyncio.CancelledError):
                await ringing
        await connection.close()

    async def accept(request: web.Request) -> web.Response:
        taken = read_request(await request.read())
        await request.app[group].add(taken)
        body = orjson.dumps({"id": str(taken.id)})
        return web.Response(body=body, status=202, content_type="application/json")

    app.cleanup_ctx.append(open_all)
    app.router.add_post("/requests", accept)
    return app


def _writer(connection: "asyncpg.Connection[asyncpg.Record]", bell: ArqBell) -> Write:
    async def write_only(requests: Sequence[Request]) -> Sequence[None]:
        await insert(connection, requests)
        return [None] * len(requests)

    async def write_and_notify(requests: Sequence[Request]) -> Sequence[None]:
        async with connection.transaction():
            await insert(connection, requests)
            await connection.execute(NOTIFY, CHANNEL, " ".join({request.key for request in requests}))
        return [None] * len(requests)

    async def write_and_ring(requests: Sequence[Request]) -> Sequence[None]:
        await insert(connection, requests)
        bell.keys.update(request.key for request in requests)
        return [None] * len(requests)

    return {"none": write_only, "notify": write_and_notify, "arq": write_and_ring}[_bell()]


def _bell() -> str:
    return os.environ.get("BENCH_BELL", "none")


if __name__ == "__main__":
    serve(build_app())
