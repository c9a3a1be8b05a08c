"""More than the service can do: who is accepted has an answer soon, the others are told at once, and nobody starves."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from service.commands.open_files import Places, places_within
from service.core.errors import ConfigurationError, Overloaded
from service.core.pace import Pace
from service.doors.keys import LARGE_BODY_TURNS
from service.doors.line_budget import LineBudget
from service.doors.pacing import Pacer
from service.doors.turns import Turns
from service.flow.accept_group import Accepted
from service.flow.group_commit import Acceptor
from tests.support.api import REQUESTS, Replica
from tests.support.new_requests import a_request
from tests.support.raw_http import connected, port_of, read_answer
from tests.support.stack import body
from tests.support.waiting import eventually


async def slow_down_commits(replica: Replica, *, seconds: float) -> None:
    """Let every commit take a while, as on a busy disk."""
    async with replica.deps.database.connection() as connection:
        await connection.execute(
            f"""
            CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER INSERT ON release_requests
            FOR EACH STATEMENT EXECUTE FUNCTION take_a_while();
            """
        )


async def hand_in(acceptor: Acceptor, item: str) -> tuple[object, float]:
    """Hand in one request; returns what became of it, and after how long."""
    started = time.monotonic()
    try:
        outcome: object = await acceptor.accept(a_request(item))
    except Overloaded as error:
        outcome = error
    return outcome, time.monotonic() - started


async def test_a_slow_commit_of_long_ago_refuses_nobody(replica: Replica) -> None:
    """What one commit took while it waited for a lock says nothing of the commits after a pause."""
    acceptor, clock = replica.intake.acceptor, asyncio.get_running_loop().time
    await slow_down_commits(replica, seconds=3.0)
    await hand_in(acceptor, "slow")
    async with replica.deps.database.connection() as connection:
        await connection.execute("DROP TRIGGER slow ON release_requests")
    ended_at = clock()
    await eventually(lambda: clock() > ended_at + 1.2, within=5.0, what="a pause")
    results = await asyncio.gather(*(hand_in(acceptor, str(number)) for number in range(1_000)))

    assert all(isinstance(outcome, Accepted) for outcome, _ in results)


async def test_who_would_wait_for_long_is_refused_at_once(replica: Replica) -> None:
    """Of 4,000 requests at once those are accepted that are committed within some seconds; the others know at once."""
    await slow_down_commits(replica, seconds=0.25)
    acceptor = replica.intake.acceptor
    for number in range(2):
        await hand_in(acceptor, f"before-{number}")
    results: Sequence[tuple[object, float]] = await asyncio.gather(
        *(hand_in(acceptor, str(number)) for number in range(4_000))
    )
    accepted = [seconds for outcome, seconds in results if isinstance(outcome, Accepted)]
    refused = [seconds for outcome, seconds in results if isinstance(outcome, Overloaded)]
    later = await replica.post(body("later"))

    assert len(accepted) + len(refused) == 4_000
    assert len(accepted) >= 256
    assert len(refused) >= 1_000
    assert max(accepted) < 8.0
    assert max(refused) < min(accepted)
    assert later.status == 202


async def test_an_overloaded_process_says_so(replica: Replica) -> None:
    """Over HTTP the refusal is 503 with Retry-After, and what was accepted is there."""
    await slow_down_commits(replica, seconds=1.2)
    early = [asyncio.create_task(replica.post(body(f"early-{number}"))) for number in range(1_200)]
    await asyncio.wait(
        early, return_when=asyncio.FIRST_COMPLETED
    )  # from now on it is known how long a commit takes
    late = [asyncio.create_task(replica.post(body(f"late-{number}"))) for number in range(300)]
    answers = await asyncio.gather(*early, *late)
    refused = [answer for answer in answers if answer.status != 202]

    assert 0 < len(refused) < len(answers)
    assert {(answer.status, answer.code) for answer in refused} == {(503, "unavailable")}
    assert {answer.headers["Retry-After"] for answer in refused} == {"2"}


async def test_those_who_look_do_not_keep_others_from_handing_in(replica: Replica) -> None:
    """While every connection that reads may use is busy, and many wait for one, a request is accepted."""
    reads = [
        asyncio.create_task(replica.deps.database.read(lambda c: c.execute("SELECT pg_sleep(4.5)")))
        for _ in range(60)
    ]
    accepted = await replica.post(body("1"))
    have_read = [read.done() for read in reads]
    for read in reads:
        read.cancel()
    await asyncio.gather(*reads, return_exceptions=True)

    assert accepted.status == 202
    assert not any(have_read)


async def test_lists_take_turns(replica: Replica) -> None:
    """Of 150 lists at once few are made at a time; those beyond the queue are told so, and a request goes past them."""
    lists = asyncio.gather(*(replica.get(REQUESTS) for _ in range(150)))
    accepted = await replica.post(body("1"))
    statuses = Counter(answer.status for answer in await lists)
    later = await replica.get(REQUESTS)

    assert accepted.status == 202
    assert statuses.keys() <= {200, 503}
    assert statuses[200] >= 100
    assert later.status == 200


async def test_nobody_waits_for_a_turn_for_ever() -> None:
    """Beyond two at once and a hundred that wait, who comes is refused; who is done lets the next one in."""
    turns = Turns(at_once=2, most_waiting=100)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(turns.turn())
        waiting = [asyncio.create_task(have_turn(turns)) for _ in range(101)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused = [task.exception() for task in done]
    await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(error) for error in refused] == [Overloaded]
    assert sum(task.exception() is None for task in waiting) == 100


async def test_large_bodies_do_not_fill_the_memory(replica: Replica) -> None:
    """Beside 64 large bodies that do not come to their end the next one waits, and a small one is accepted."""
    port = port_of(replica.url)
    head = b"POST /v1/release-requests HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    async with AsyncExitStack() as stack:
        for _ in range(64):
            _, writer = await stack.enter_async_context(connected(port))
            writer.write(head + b"Content-Length: 100000\r\n\r\n{")
        turns = replica.app[LARGE_BODY_TURNS]
        await eventually(lambda: turns.is_full)
        reader, writer = await stack.enter_async_context(connected(port))
        writer.write(head + b"Content-Length: 100000\r\n\r\n{")
        small = await replica.post(body("1"))
        refused = await read_answer(reader)
    large = await replica.post(json.dumps(body("2")).encode() + b" " * 100_000)

    assert (small.status, large.status) == (202, 202)
    assert (refused.status, refused.problem["code"]) == (503, "unavailable")


async def test_requests_begin_a_few_in_each_turn_of_the_loop() -> None:
    """Who needs ten turns does not wait until a thousand have begun, and these begin in their order."""
    pacer, begun = Pacer(per_turn=8), list[int]()

    async def begin(number: int) -> None:
        await pacer.begin()
        begun.append(number)

    crowd = asyncio.gather(*(begin(number) for number in range(1_000)))
    for _ in range(10):
        await asyncio.sleep(0)  # a turn
    had_begun = len(begun)
    await crowd

    assert 0 < had_begun <= 100
    assert begun == sorted(begun)
    assert len(begun) == 1_000


def test_slow_answers_do_not_fill_the_log() -> None:
    """Twenty lines a second are written; the next one that is says how many were left out."""
    budget = LineBudget()
    first = [budget.take(now=7.0 + number / 100) for number in range(50)]

    assert first == [0] * 20 + [None] * 30
    assert [budget.take(now=8.0), budget.take(now=8.1)] == [30, 0]


async def have_turn(turns: Turns) -> None:
    async with turns.turn():
        pass


def test_the_wait_is_judged_by_the_commits_before() -> None:
    """Nobody waits where commits are fast; large requests fill commits sooner; one slow commit is soon forgotten."""
    fast, large = Pace(), Pace()
    for _ in range(50):
        fast = fast.after(seconds=0.01, requests=64, items=128)
        large = large.after(seconds=0.2, requests=4, items=4_000)
    slow = fast.after(seconds=2.0, requests=1, items=1)
    recovered = slow
    for _ in range(20):
        recovered = recovered.after(seconds=0.01, requests=64, items=128)

    def wait(pace: Pace, requests: int) -> float:
        return pace.wait_behind(requests, most_requests=256, most_items=4_000)

    assert wait(Pace(), 5_000) == 0
    assert wait(fast, 1_000) < 0.1
    assert wait(large, 100) > 4.0
    assert wait(recovered, 1_000) < 0.2
    assert wait(slow, 100) == 0
    assert wait(Pace().after(seconds=10.0, requests=1, items=1), 255) == 0
    assert wait(Pace().after(seconds=10.0, requests=1, items=1), 256) > 2.0


@pytest.mark.parametrize(
    ("files", "places"),
    [
        (100_000, Places(connections=1_000, backlog=4_096)),
        (5_224, Places(connections=1_000, backlog=4_096)),
        (1_024, Places(connections=448, backlog=448)),
        (160, Places(connections=16, backlog=16)),
    ],
)
def test_connections_fit_into_the_open_files(files: int, places: Places) -> None:
    """Those that are open and those that come at once never use up what the process needs for itself."""
    assert places_within(files, 1_000) == places
    assert places.connections + places.backlog + 128 <= files


def test_next_to_no_open_files_stop_the_start() -> None:
    """A limit under which nobody could be served is named at the start."""
    with pytest.raises(ConfigurationError, match=r"160 or more .ulimit -n.; given 64"):
        places_within(64, 1_000)
