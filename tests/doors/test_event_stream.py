"""Timelines as server-sent events: every event once, also over reconnects, until the request is done."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from service.app import say_farewell
from service.commands.keys import create_key, revoke_key
from service.core.ids import new_id
from tests.doors.conftest import StartReplica
from tests.main_job.conftest import StackWith
from tests.support.api import REQUESTS, Api, Replica
from tests.support.stack import body
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One server-sent event."""

    last_id: str
    type: str
    data: Any


class EventSource:
    """Reads a stream as a browser does."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def read(self) -> Sent | None:
        """Return the next event; None at the end."""
        fields: dict[str, str] = {}
        async for raw in self.response.content:
            line = raw.decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif not line and "data" in fields:
                return Sent(last_id=fields["id"], type=fields["event"], data=json.loads(fields["data"]))
        return None

    async def rest(self) -> list[Sent]:
        """Return all events to the end."""
        sent = []
        while (event := await self.read()) is not None:
            sent.append(event)
        return sent


@asynccontextmanager
async def streaming(
    session: aiohttp.ClientSession, url: str, request_id: str, **headers: str
) -> AsyncIterator[EventSource]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"Accept": "text/event-stream", **named}
    async with session.get(f"{url}{REQUESTS}/{request_id}/events", headers=sent) as response:
        yield EventSource(response)


def on(api: Api, request_id: str, **headers: str) -> AbstractAsyncContextManager[EventSource]:
    return streaming(api.session, api.url, request_id, **headers)


async def test_events_come_as_they_happen_and_the_stream_ends_when_done(stack_with: StackWith) -> None:
    """From acceptance to release, with the ids of the timeline; coming again afterwards is 204."""
    async with stack_with() as stack:
        await stack.start_api()
        accepted = await stack.submit(body("1"))
        async with streaming(stack.http, stack.url, accepted["id"]) as source:
            first = await source.read()
            await stack.start_worker()
            rest = await source.rest()
            headers = source.response.headers
        async with stack.http.get(f"{stack.url}{REQUESTS}/{accepted['id']}/events") as response:
            timeline = (await response.json())["events"]
        async with streaming(
            stack.http, stack.url, accepted["id"], Last_Event_ID=str(timeline[-1]["seq"])
        ) as again:
            assert again.response.status == 204

        assert first is not None
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "X-Request-Id" in headers
        assert [event.data for event in (first, *rest)] == timeline
        assert [event.last_id for event in (first, *rest)] == [str(entry["seq"]) for entry in timeline]
        assert [event.type for event in (first, *rest)] == [entry["type"] for entry in timeline]


async def test_a_client_that_comes_again_sees_every_event_once(stack_with: StackWith) -> None:
    """Cut after each event, it goes on behind the last one that it has."""
    async with stack_with() as stack:
        await stack.start_api()
        accepted = await stack.submit(body("1"))
        await stack.start_worker()
        seen: list[Sent] = []
        while True:
            last = seen[-1].last_id if seen else "0"
            async with streaming(stack.http, stack.url, accepted["id"], Last_Event_ID=last) as source:
                if source.response.status == 204:
                    break
                event = await source.read()
                if event is not None:
                    seen.append(event)

        assert [int(event.last_id) for event in seen] == list(range(1, len(seen) + 1))
        assert seen[-1].data["state"] == "released"


async def test_a_stream_ends_with_the_process(replica: Replica) -> None:
    """Whoever listens at shutdown is let go at once, and may come again elsewhere."""
    accepted = await replica.accept(body("1"))
    async with on(replica, accepted["id"]) as source:
        assert await source.read() is not None
        say_farewell(replica.app)
        assert await source.rest() == []


async def test_an_idle_stream_ends_at_once_for_a_key_that_is_revoked(
    start_replica: StartReplica, database_url: str
) -> None:
    """It does not stay open until something happens; the stream of another key does."""
    replica = await start_replica(RELEASE_AUTH="keys")
    owner = await create_key(database_url, name="owner", scopes=["submit", "read"], workspaces=["*"])
    reader = await create_key(database_url, name="reader", scopes=["read"], workspaces=["*"])
    shown, other = ({"Authorization": f"Bearer {key.api_key}"} for key in (reader, owner))
    accepted = await replica.accept(body("1"), **other)
    async with (
        on(replica, accepted["id"], **shown) as source,
        on(replica, accepted["id"], **other) as staying,
    ):
        assert await source.read() is not None
        assert await staying.read() is not None
        await revoke_key(database_url, reader.kept.key_id)
        async with asyncio.timeout(1):
            assert await source.rest() == []
        await replica.ask("POST", f"{REQUESTS}/{accepted['id']}/cancel", headers=other)
        last = await staying.read()

        assert last is not None
        assert last.data["state"] == "cancelled"


@pytest.mark.parametrize("last", ["-1", "x", "1.5", "99999999999"])
async def test_a_last_id_that_is_none_of_ours_is_refused(replica: Replica, last: str) -> None:
    """400, before anything is streamed."""
    accepted = await replica.accept(body("1"))
    answer = await replica.get(
        f"{REQUESTS}/{accepted['id']}/events", Accept="text/event-stream", Last_Event_ID=last
    )

    assert (answer.status, answer.code) == (400, "invalid-parameter")


async def test_what_may_not_be_seen_is_not_streamed(replica: Replica) -> None:
    """An unknown id is 404, as a problem."""
    await replica.accept(body("1"))
    answer = await replica.get(
        f"{REQUESTS}/{new_id()}/events", Accept="application/json, text/event-stream;q=0.9"
    )

    assert (answer.status, answer.code) == (404, "not-found")


async def test_many_waiters_are_woken_and_let_go(replica: Replica) -> None:
    """Of two hundred callers those of the changed request have their answer at once, the others at shutdown."""
    accepted = [await replica.accept(body(str(number))) for number in range(10)]
    waiters = [
        [asyncio.create_task(replica.get(f"{REQUESTS}/{request['id']}?wait=30")) for _ in range(20)]
        for request in accepted
    ]

    async def all_wait() -> bool:
        return replica.deps.changes.waiting == 200

    await eventually(all_wait, within=20, what="all callers wait")
    await replica.ask("POST", f"{REQUESTS}/{accepted[0]['id']}/cancel")
    woken = await asyncio.gather(*waiters[0])

    assert {answer.json["state"] for answer in woken} == {"cancelled"}
    assert not any(waiter.done() for others in waiters[1:] for waiter in others)
    say_farewell(replica.app)
    rest = await asyncio.gather(*(waiter for others in waiters[1:] for waiter in others))
    assert {answer.json["state"] for answer in rest} == {"accepted"}
