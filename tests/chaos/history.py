"""Callers that hand in requests and write down what they were told: known, refused for now, or nothing."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from tests.chaos.schedule import APIS
from tests.chaos.world import World
from tests.support.stack import body

WORKSPACES = 6
#: Workspaces get new names so often, as the vendor's lists of old ones grow long.
GENERATION_SECONDS = 60.0
PAUSE_SECONDS = (0.1, 0.9)
TRY_SECONDS = 5.0
POISONED_SHARE = 0.01
#: Answers that promise nothing: the caller asks again.
NOT_NOW = frozenset({409, 429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt to hand in: when, through which door, and what came of it."""

    at: float
    #: An HTTP process, or the queue.
    door: str
    status: int | None
    told: str

    def __str__(self) -> str:
        """Write it as a line of the history."""
        return f"{self.at:.3f} {self.door} {self.status or 'unknown'} {self.told}"


@dataclass(slots=True, kw_only=True)
class Entry:
    """A request in the eyes of its caller."""

    key: str
    body: Mapping[str, Any]
    tries: list[Try] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class History:
    """What all callers have seen, and what of it must not be."""

    entries: list[Entry] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    wrongs: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The id of every request."""
        return [request_id for entry in self.entries for request_id in entry.ids]

    @property
    def tries(self) -> list[Try]:
        """Every attempt to hand in."""
        return [one for entry in self.entries for one in entry.tries]

    def known_through(self, door: str) -> set[str]:
        """Return the ids that somebody was told at this door."""
        return {one.told for one in self.tries if one.door == door and one.status in {200, 202}}


class Callers:
    """Hand in requests until told to stop; then each asks on until it knows the id of its last one."""

    def __init__(self, world: World, history: History, seed: int) -> None:
        self._world = world
        self._history = history
        self._seed = seed
        self._stopping = asyncio.Event()
        self._began = time.monotonic()

    def stop(self) -> None:
        """Let nobody begin another request."""
        self._stopping.set()

    async def run(self, number: int) -> None:
        """Be one caller."""
        random = Random(f"{self._seed}/caller-{number}")  # noqa: S311 - to be repeatable, not secret
        count = 0
        while not self._stopping.is_set():
            count += 1
            entry = await self._new_entry(random, key=f"caller-{number}-{count}")
            await self._ask_until_known(entry, random)
            await self._look_at_an_earlier_one(random)
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))

    async def _new_entry(self, random: Random, key: str) -> Entry:
        earlier = self._history.entries[-20:]
        comes_again = earlier and random.random() < 0.05
        asked = random.choice(earlier).body if comes_again else await self._new_body(random, key)
        entry = Entry(key=key, body=asked)
        self._history.entries.append(entry)
        return entry

    async def _new_body(self, random: Random, key: str) -> Mapping[str, Any]:
        generation = int((time.monotonic() - self._began) / GENERATION_SECONDS)
        workspace = f"ws-{random.randrange(WORKSPACES)}-{generation}"
        items = [f"{key}-{n}" for n in range(random.randint(1, 4))]
        poisoned = [item for item in items if random.random() < POISONED_SHARE]
        await self._world.register(workspace, items, poisoned=poisoned)
        return body(*items, workspace=workspace, applicant=f"applicant-{random.randrange(2)}")

    async def _ask_until_known(self, entry: Entry, random: Random) -> None:
        """Ask until there is an id, and now and then once more."""
        while not entry.ids or random.random() < 0.1:
            api = random.randrange(2)
            at = time.time()
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    status, told = await self._post(entry, api)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                status, told = None, repr(error)
            entry.tries.append(Try(at=at, door=APIS[api], status=status, told=told))
            self._judge(entry, status, told)
            if status not in {200, 202}:
                await asyncio.sleep(0.2)  # as a caller would: Retry-After is for those who have more time

    async def _post(self, entry: Entry, api: int) -> tuple[int, str]:
        async with self._world.stack.http.post(
            f"{self._world.api_url(api)}/v1/release-requests",
            json=entry.body,
            headers={"Idempotency-Key": entry.key},
        ) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            told = answer["id"] if response.status in {200, 202} else answer.get("code")
            return response.status, str(told)

    def _judge(self, entry: Entry, status: int | None, told: str) -> None:
        if status in {200, 202}:
            entry.ids.add(told)
        elif status is not None and status not in NOT_NOW:
            self._history.wrongs.append(f"{entry.key} was told {status} {told}")
        if len(entry.ids) > 1:
            self._history.wrongs.append(f"{entry.key} has several ids: {entry.ids}")

    async def _look_at_an_earlier_one(self, random: Random) -> None:
        """I5 from outside: who was seen done once stays as it was."""
        request_id = random.choice(self._history.ids)
        url = f"{self._world.api_url(random.randrange(2))}/v1/release-requests/{request_id}"
        try:
            async with asyncio.timeout(TRY_SECONDS), self._world.stack.http.get(url) as response:
                shown: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return
        if response.status == 200 and shown["done"]:
            before = self._history.ends.setdefault(request_id, shown["state"])
            if before != shown["state"]:
                self._history.wrongs.append(f"{request_id} was {before} and is {shown['state']}")
        elif response.status not in {200, 503}:
            self._history.wrongs.append(f"{request_id} was shown as {response.status} {shown.get('code')}")
