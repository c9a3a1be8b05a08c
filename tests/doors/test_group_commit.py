"""Requests that are committed together: none of them suffers for another."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from service.core.errors import DatabaseUnavailable, Overloaded
from service.flow import group_commit
from service.flow.group_commit import Acceptor
from tests.support.api import Answer, Replica
from tests.support.new_requests import a_request
from tests.support.sql import fetch_value
from tests.support.stack import body


async def at_once(replica: Replica, bodies: list[dict[str, Any]]) -> list[Answer]:
    """Hand in while a commit is under way, so that all go into the same next one."""
    return await asyncio.gather(*(replica.post(sent) for sent in bodies))


async def test_a_conflict_fails_none_of_its_commit(replica: Replica) -> None:
    """Of 60 requests at once one conflicts: it is 409, the others are accepted."""
    await replica.accept(body("held"))
    bodies = [body(str(number)) for number in range(60)]
    bodies[30] = body("x", "held", applicant="eve")
    answers = await at_once(replica, bodies)

    assert Counter(answer.status for answer in answers) == {202: 59, 409: 1}
    assert answers[30].status == 409


async def test_a_request_that_cannot_be_written_fails_none_of_its_commit(
    replica: Replica, database_url: str
) -> None:
    """Of 60 requests at once the database refuses one: it is a 500 that says nothing, the others are accepted."""
    await fetch_value(
        database_url, "ALTER TABLE release_requests ADD CONSTRAINT no_poison CHECK (note <> 'poison')"
    )
    bodies = [body(str(number), note="fine") for number in range(60)]
    bodies[30] = body("30", note="poison")
    answers = await at_once(replica, bodies)

    assert Counter(answer.status for answer in answers) == {202: 59, 500: 1}
    assert answers[30].code == "internal-error"
    assert "poison" not in answers[30].body.decode()
    assert UUID(answers[31].json["id"])


async def test_a_queue_that_only_grows_is_refused(replica: Replica) -> None:
    """While nothing is committed at most 5,000 requests wait; who comes then is told at once to come again."""
    acceptor = Acceptor(
        replica.deps.database, replica.intake.waker, replica.intake.room, replica.deps.metrics
    )
    request = a_request("1")
    waiting = [asyncio.create_task(acceptor.accept(request)) for _ in range(5_000)]
    one_too_many = asyncio.create_task(acceptor.accept(request))
    await asyncio.wait({one_too_many}, timeout=5.0)

    with pytest.raises(Overloaded):
        one_too_many.result()
    for task in waiting:
        task.cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(error) for error in ended} == {asyncio.CancelledError}


async def test_each_caller_is_told_in_time_that_nothing_is_committed(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for longer than the time for an answer is told so, each in his own time, whoever waits beside him."""
    monkeypatch.setattr(group_commit, "_ANSWER_WITHIN_SECONDS", 0.4)
    clock = asyncio.get_running_loop().time
    acceptor = Acceptor(
        replica.deps.database, replica.intake.waker, replica.intake.room, replica.deps.metrics
    )

    async def seconds_until_told(number: int) -> float:
        began_at = clock()
        with pytest.raises(DatabaseUnavailable, match="in time"):
            await acceptor.accept(a_request(str(number)))
        return clock() - began_at

    waits = []
    for number in range(3):
        waits.append(asyncio.create_task(seconds_until_told(number)))
        await asyncio.wait(waits, timeout=0.15)
    told = await asyncio.gather(*waits)

    assert all(0.35 < seconds < 2.0 for seconds in told)
