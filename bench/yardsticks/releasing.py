"""What the workers of L4n and L5n share: claim up to 100 items of a key, make one call, write one UPDATE."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from uuid import uuid4

import aiohttp
import asyncpg
import orjson

from bench.yardsticks.table import Claim, Pool, claim, finish

PATH = "/v2/project/factory/pending-items/package"
RETRY_SECONDS = 0.5


class Pace:
    """Spaces the calls of a workspace out evenly."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._next_at: dict[str, float] = {}

    async def wait(self, workspace: str) -> None:
        """Wait for the turn of a call."""
        if not self._rate:
            return
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next_at.get(workspace, 0.0))
        self._next_at[workspace] = turn + 1 / self._rate
        await asyncio.sleep(turn - now)


class Releaser:
    """Empties keys; one key is emptied by one task at a time."""

    def __init__(self, pool: Pool, http: aiohttp.ClientSession, pace: Pace) -> None:
        self.pool = pool
        self._http = http
        self._pace = pace

    async def empty(self, key: str) -> None:
        """Release what waits of a key, until nothing does."""
        while True:
            await self._pace.wait(key.partition("/")[0])
            claimed = await claim(self.pool, key)
            if claimed is None:
                return
            package_id = await self._call(claimed)
            if package_id is None:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await finish(self.pool, claimed.ids, package_id)

    async def _call(self, claimed: Claim) -> str | None:
        first = claimed.first
        body = {
            "apply_user_id": first["apply_user_id"],
            "package_name": f"release-{uuid4().hex}",
            "pending_item_list": claimed.items,
            "approver_ids": first["approver_ids"],
        }
        headers = {"workspace": first["workspace"], "Content-Type": "application/json"}
        try:
            async with self._http.post(PATH, data=orjson.dumps(body), headers=headers) as response:
                answer = await response.read()
        except aiohttp.ClientError:
            return None
        if response.status != HTTPStatus.OK:
            return None
        return str(orjson.loads(answer)["release_package_id"])


@asynccontextmanager
async def open_releaser() -> AsyncIterator[Releaser]:
    """Open connections to Postgres and to the vendor."""
    async with (
        asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], min_size=4, max_size=16) as pool,
        aiohttp.ClientSession(os.environ["BENCH_VENDOR_URL"]) as http,
    ):
        yield Releaser(pool, http, Pace(float(os.environ.get("BENCH_PACE", "0"))))
