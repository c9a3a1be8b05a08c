"""The client on a bad day: answers that are lost, intermediaries without patience, a service that is started anew."""

import asyncio
import itertools
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from service.client import ReleaseClient, ReleaseError
from tests.support.intermediary import Intermediary, Scripted
from tests.support.link import Link, Mode
from tests.support.raw_http import port_of
from tests.support.sql import count_requests, fetch_value
from tests.support.stack import Stack, body, free_port
from tests.support.waiting import eventually

BUSY = {
    "type": "/problems/rate-limited",
    "title": "The key is used too often.",
    "status": 429,
    "detail": "Too often.",
    "code": "rate-limited",
}


def busy(**headers: str) -> Scripted:
    """A 429 as the service would answer it."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Scripted(
        status=429,
        headers={**named, "Content-Type": "application/problem+json"},
        body=orjson.dumps(BUSY).decode(),
    )


async def test_a_request_whose_answer_was_lost_exists_once(quiet_stack: Stack) -> None:
    """The call is repeated with the same key until an answer comes through; nobody had to give a key."""
    async with (
        Link(port_of(quiet_stack.url), listens_at=0).running() as link,
        ReleaseClient(f"http://127.0.0.1:{link.port}") as client,
    ):
        link.mode = Mode.SWALLOW
        submitting = asyncio.create_task(client.submit(**body("1", "2")))
        await eventually(lambda: count_requests(quiet_stack.database_url), what="the request")
        link.mode = Mode.PASS
        request = await submitting
    key = await fetch_value(quiet_stack.database_url, "SELECT idempotency_key FROM release_requests")

    assert await count_requests(quiet_stack.database_url) == 1
    assert (request.state, [item.pending_item_id for item in request.items]) == ("accepted", ["1", "2"])
    assert len(key) == 36


async def test_many_requests_whose_answer_was_lost_exist_once(quiet_stack: Stack) -> None:
    """Each has its key, so a repeat of all of them creates nothing; results are in order, also beyond a thousand."""
    bodies: list[dict[str, Any]] = [body(str(number)) for number in range(1_050)]
    bodies[1_020] = {"workspace": "ws-1"}
    async with (
        Link(port_of(quiet_stack.url), listens_at=0).running() as link,
        ReleaseClient(f"http://127.0.0.1:{link.port}") as client,
    ):
        link.mode = Mode.SWALLOW
        submitting = asyncio.create_task(client.submit_many(bodies))
        await eventually(lambda: count_requests(quiet_stack.database_url), within=20, what="the requests")
        link.mode = Mode.PASS
        submitted = await submitting
    refused = submitted[1_020].error

    assert await count_requests(quiet_stack.database_url) == 1_049
    assert refused is not None
    assert (refused.code, refused.status, len(refused.errors)) == ("invalid-request", 422, 3)
    assert [str(number) for number in range(1_050) if number != 1_020] == [
        one.release_request.items[0].pending_item_id for one in submitted if one.release_request is not None
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": "1"},
        {"Retry_After": "Sun, 29 Nov 2026 12:00:01 GMT", "Date": "Sun, 29 Nov 2026 12:00:00 GMT"},
    ],
    ids=["seconds", "date"],
)
async def test_a_429_is_obeyed_for_as_long_as_it_says(
    client: ReleaseClient, intermediary: Intermediary, headers: dict[str, str]
) -> None:
    """`Retry-After` in seconds or as a date: the same call comes again then, with the same key, and not before."""
    intermediary.script = [busy(**headers)]
    request = await client.submit(**body("1"))
    first, second = intermediary.calls

    assert request.state == "accepted"
    assert 1.0 <= second.at - first.at < 5.0
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


async def test_a_429_that_asks_for_too_long_is_raised_at_once(
    client: ReleaseClient, intermediary: Intermediary
) -> None:
    """Nobody waits for an hour unasked: the error says how long it would have been."""
    intermediary.script = [busy(Retry_After="3600")]
    with pytest.raises(ReleaseError, match="rate-limited") as raised:
        await client.submit(**body("1"))

    assert (raised.value.retry_after, raised.value.status, len(intermediary.calls)) == (3600.0, 429, 1)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_gateway_that_loses_answers_is_asked_again(
    client: ReleaseClient, intermediary: Intermediary, quiet_stack: Stack, status: int
) -> None:
    """Whether the service had the call or not, the request exists once."""
    intermediary.script = [Scripted(status=status), Scripted(status=status, after_effect=True)]
    request = await client.submit(**body("1"))

    assert request.state == "accepted"
    assert len(intermediary.calls) == 3
    assert await count_requests(quiet_stack.database_url) == 1


async def test_what_twice_is_not_as_once_is_not_repeated(
    client: ReleaseClient, intermediary: Intermediary, quiet_stack: Stack
) -> None:
    """A retry, a decision and an operation are sent once where nobody knows what became of the call."""
    request = await client.submit(**body("1"))
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: client.retry(request.id),
        lambda: client.resolve(request.id, decision="resend", reason="r"),
        lambda: client.execute("cancel", {"workspace": "ws-1"}, expect=1, reason="r"),
        lambda: client.abort(request.id),
    ]
    for call in calls:
        intermediary.calls.clear()
        intermediary.script = [Scripted(status=504)]
        with pytest.raises(ReleaseError, match=r"strange-answer: .* HTTP 504"):
            await call()

        assert len(intermediary.calls) == 1
    intermediary.calls.clear()
    intermediary.script = [busy(Retry_After="0")]
    with pytest.raises(ReleaseError, match="not-retryable"):
        await client.retry(request.id)

    assert len(intermediary.calls) == 2, "a 429 did nothing, so it is repeated"
    assert (await quiet_stack.show(request.id))["state"] == "accepted"


async def test_a_call_that_is_sent_once_has_a_connection_of_its_own(
    client: ReleaseClient, intermediary: Intermediary
) -> None:
    """A kept connection may be closed just as the call is sent, and nobody would know what became of it."""
    request = await client.submit(**body("1"))
    await client.get(request.id)
    for _ in range(2):
        with pytest.raises(ReleaseError, match="not-retryable"):
            await client.retry(request.id)
    submitted, read, *sent_once = [call.port for call in intermediary.calls]

    assert submitted == read
    assert len({read, *sent_once}) == 3


async def test_repeats_have_an_end(quiet_stack: Stack) -> None:
    """A service that stays away is said to be so when the time for repeats is up."""
    nobody = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    async with ReleaseClient(nobody, retry_for=1.0) as client:
        with pytest.raises(ReleaseError, match=f"unreachable: {nobody} does not answer: connection refused"):
            await client.submit(**body("1"))
    took = time.monotonic() - began

    assert 0.2 < took < 5.0
    assert await count_requests(quiet_stack.database_url) == 0


async def test_a_service_that_hangs_is_given_up(quiet_stack: Stack) -> None:
    """A call without an answer ends with its time."""
    async with (
        Link(port_of(quiet_stack.url), listens_at=0).running() as link,
        ReleaseClient(f"http://127.0.0.1:{link.port}", timeout=0.3, retry_for=0) as client,
    ):
        link.mode = Mode.BLACKHOLE
        with pytest.raises(ReleaseError, match=r"unreachable: .* does not answer: no answer in time"):
            await client.submit(**body("1"))


async def test_what_is_not_the_service_is_told_apart(
    client: ReleaseClient, intermediary: Intermediary
) -> None:
    """A page of somebody else, JSON of another form and a redirect are no answers, and a key is sent nowhere else."""
    json = {"Content-Type": "application/json"}
    for scripted, words in (
        (Scripted(status=200), "something that is not JSON"),
        (Scripted(status=200, headers=json, body="[]"), "JSON that is no ReleaseRequest"),
        (
            Scripted(status=302, headers={"Location": "http://login.example/"}),
            "leads to 'http://login.example/'",
        ),
        (Scripted(status=404), "HTTP 404"),
    ):
        intermediary.script = [scripted]
        with pytest.raises(ReleaseError, match=f"strange-answer: .*{words}"):
            await client.get("01a20c84-4d86-70f7-961a-3b09c213ee81")
    intermediary.script = [Scripted(status=200, headers=json, body="{}")]
    with pytest.raises(ReleaseError, match="JSON that is no page of a list"):
        await anext(client.list())


async def test_an_intermediary_that_cuts_waits_only_slows_a_wait_down(
    client: ReleaseClient, intermediary: Intermediary, quiet_stack: Stack
) -> None:
    """Waits become shorter, and end in asking now and then; the result is seen all the same."""
    intermediary.cuts_after = 0.3
    request = await client.submit(**body("1"))
    waiting = asyncio.create_task(client.wait(request.id, timeout=60))
    await eventually(lambda: intermediary.waits[-2:] == [None, None], within=20, what="asking now and then")
    # aiohttp makes a read whose connection broke once more by itself.
    waits = [wait for wait, _ in itertools.groupby(intermediary.waits)]
    await quiet_stack.start_worker()
    done = await waiting

    assert waits == [None, "20", "5", "1", None]
    assert done.is_released


async def test_an_intermediary_that_forgets_waits_is_not_asked_all_the_time(
    client: ReleaseClient, intermediary: Intermediary, quiet_stack: Stack
) -> None:
    """Answers that come at once without news are followed by rests."""
    intermediary.forgets_waits = True
    request = await client.submit(**body("1"))
    waiting = asyncio.create_task(client.wait(request.id, timeout=60))
    await eventually(lambda: len(intermediary.calls) >= 6, within=20, what="some calls")
    times = [call.at for call in intermediary.calls[2:]]
    await quiet_stack.start_worker()
    done = await waiting

    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(times))
    assert done.is_released


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restart_of_the_service_does_not_end_a_wait(
    quiet_stack: Stack, number: signal.Signals
) -> None:
    """Whether it stops in order or is killed, the wait goes on with the next process."""
    async with ReleaseClient(quiet_stack.url, retry_for=30) as client:
        request = await client.submit(**body("1"))
        changes = client.watch(request.id)
        first = await anext(changes)
        waiting = asyncio.create_task(anext(changes))
        quiet_stack.processes[0].send(number)
        await quiet_stack.processes[0].wait()
        await quiet_stack.start_api()
        await quiet_stack.start_worker()
        second = await waiting
        done = await client.wait(request.id)

    assert (first.state, first.version) == ("accepted", 1)
    assert (second.version, second.wait_reason) != (first.version, first.wait_reason)
    assert done.is_released


async def test_a_wait_has_an_end(client: ReleaseClient) -> None:
    """When the time is up the caller is told how it stands; a submission that waits returns it as it is."""
    request = await client.submit(**body("1"), wait=0.2)
    with pytest.raises(TimeoutError, match=f"{request.id} is accepted after 0.3 s"):
        await client.wait(request.id, timeout=0.3)
    with pytest.raises(TimeoutError):
        await client.wait(request.id, timeout=0)

    assert (request.state, request.done) == ("accepted", False)
