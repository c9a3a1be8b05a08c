"""L4n: a worker that NOTIFY wakes, with the keys that have something new."""

import asyncio
import os

import asyncpg
import uvloop

from bench.yardsticks.group import CHANNEL
from bench.yardsticks.releasing import Releaser, open_releaser


class Keys:
    """One task for each key that has work; a key that is called again meanwhile is looked at once more."""

    def __init__(self, releaser: Releaser) -> None:
        self._releaser = releaser
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def wake(self, *notification: object) -> None:
        """Start tasks for the keys of a notification."""
        for key in str(notification[-1]).split():
            if key in self._tasks:
                self._again.add(key)
            else:
                self._tasks[key] = asyncio.create_task(self._work(key))

    async def _work(self, key: str) -> None:
        self._again.add(key)
        while key in self._again:
            self._again.discard(key)
            await self._releaser.empty(key)
        del self._tasks[key]


async def work() -> None:
    """Work until the process is ended."""
    async with open_releaser() as releaser:
        connection = await asyncpg.connect(os.environ["BENCH_DATABASE_URL"])
        await connection.add_listener(CHANNEL, Keys(releaser).wake)
        print("ready", flush=True)  # noqa: T201 - read by the parent
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(work())
