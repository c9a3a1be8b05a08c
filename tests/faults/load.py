"""Callers that go on whatever happens, and what must hold when they are done."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import aiohttp

from service.embedded.server import EmbeddedServer
from tests.support.sql import count_requests, fetch_value
from tests.support.stack import Stack, assert_ledger_agrees, body
from tests.support.waiting import eventually

UNFINISHED = "SELECT count(*) FROM release_requests WHERE finished_at IS NULL"

#: What a caller does between two items.
_PAUSE_SECONDS = 0.08


class Load:
    """Callers that hand in one item after another, again with the same key where there was no answer or a 503."""

    def __init__(
        self, stack: Stack, *, callers: int = 4, first_item: int = 1, keeps_alive: bool = True
    ) -> None:
        self._stack = stack
        self._callers = callers
        self._headers = {} if keeps_alive else {"Connection": "close"}
        self._items = itertools.count(first_item)
        self._is_over = False
        #: Item to the id that its caller was given.
        self.ids: dict[int, str] = {}
        #: Answers that were neither an acceptance nor a 503.
        self.odd: list[str] = []
        #: Why callers had to ask again.
        self.retries: Counter[str] = Counter()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Hand in beside a block; at its end every caller stays until its last item is accepted."""
        await self.register()
        callers = asyncio.gather(*(self._call() for _ in range(self._callers)))
        try:
            yield self
        finally:
            self._is_over = True
            async with asyncio.timeout(40):
                await callers

    async def register(self) -> None:
        """Let the vendor list the items, so that their absence from its packages can be proved."""
        for workspace in range(8):
            items = [{"pending_item_id": str(item)} for item in range(workspace, 2400, 8) if item]
            await self._stack.emulator.register_items(f"ws-{workspace}", items)

    async def hand_in(self, item: int) -> None:
        """Hand an item in until it is accepted."""
        await eventually(lambda: self._is_answered(item), within=40.0, every=0.05, what="an answer")

    async def _call(self) -> None:
        while not self._is_over:
            await self.hand_in(next(self._items))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _is_answered(self, item: int) -> bool:
        headers = {"Idempotency-Key": f"key-{item}", **self._headers}
        request = body(str(item), workspace=f"ws-{item % 8}")
        try:
            async with self._stack.http.post(
                f"{self._stack.url}/v1/release-requests", json=request, headers=headers
            ) as response:
                return self._judge(item, response.status, await response.json())
        except (aiohttp.ClientError, TimeoutError) as error:
            self.retries[type(error).__name__] += 1
            return False

    def _judge(self, item: int, status: int, answer: dict[str, Any]) -> bool:
        match status:
            case 200 | 202:
                if self.ids.setdefault(item, answer["id"]) != answer["id"]:
                    self.odd.append(f"{item} got two ids")
            case 503:
                self.retries["503"] += 1
                return False
            case _:
                self.odd.append(f"{status} {answer}")
        return True


async def assert_all_released(stack: Stack, *loads: Load, within: float = 30.0) -> None:
    """Check that every accepted request is released, once, and that there is nothing else."""
    ids = [request_id for load in loads for request_id in load.ids.values()]
    await eventually(
        lambda: nothing_is_unfinished(stack.database_url), within=within, every=0.1, what="all finished"
    )
    requests = await stack.wait_until_at_rest(ids)

    assert [odd for load in loads for odd in load.odd] == []
    assert Counter(request["state"] for request in requests) == {"released": len(ids)}
    assert len(set(ids)) == len(ids) == await count_requests(stack.database_url)
    await assert_ledger_agrees(stack, requests)


async def nothing_is_unfinished(database_url: str) -> bool:
    """Tell whether every request has ended; False as well while Postgres is away."""
    with suppress(OSError, aiohttp.ClientError):
        count: int = await fetch_value(database_url, UNFINISHED)
        return count == 0
    return False


async def seconds_to_first_release(stack: Stack, *, within: float = 20.0) -> float:
    """Return how long the vendor waits for its next package, from now on."""
    loop = asyncio.get_running_loop()
    started, before = loop.time(), len(await stack.emulator.packages())

    async def has_more() -> bool:
        return len(await stack.emulator.packages()) > before

    await eventually(has_more, within=within, every=0.05, what="a release")
    return loop.time() - started


async def seconds_from_a_kill(stack: Stack, server: EmbeddedServer, *, outage: float) -> float:
    """Kill a server and start it again after so many seconds; return how long the vendor then waits for a package."""
    server.kill()
    await asyncio.sleep(outage)
    await server.start()
    return await seconds_to_first_release(stack)
