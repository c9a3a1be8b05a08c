"""Commits whose answer never comes: at intake, when a batch is sealed, and when its outcome is written."""

import pytest

from tests.faults.conftest import StackOn
from tests.faults.load import Load, assert_all_released
from tests.support.proxy import PostgresProxy
from tests.support.waiting import eventually


@pytest.mark.parametrize("cuts_messages", [False, True], ids=["answer lost", "message lost"])
async def test_unknown_commits_lose_nothing_and_double_nothing(
    stack_on: StackOn, proxy: PostgresProxy, redis_url: str, database_url: str, *, cuts_messages: bool
) -> None:
    """With every fourth COMMIT of both processes unknown, each key has one row, and each item one package."""
    async with stack_on(proxy.url, redis_url) as stack:
        stack.database_url = database_url
        load = Load(stack)
        proxy.cuts_messages = cuts_messages
        proxy.lose_answers_to(b"COMMIT", one_in=4)
        async with load.running():
            await eventually(lambda: len(load.ids) >= 80, within=40.0, what="80 accepted")
        proxy.lose_none()
        accepted = dict(load.ids)
        for item in list(accepted)[:20]:
            await load.hand_in(item)
        await assert_all_released(stack, load)

        assert proxy.lost >= 10
        assert load.ids == accepted


async def test_an_unknown_commit_of_an_outcome_is_found_out(
    stack_on: StackOn, proxy: PostgresProxy, redis_url: str, database_url: str
) -> None:
    """The answer to the commit of an outcome is lost: the outcome stands, with one call and no doubt."""
    nobody_else_commits = {"RELEASE_SWEEP_SECONDS": "60", "RELEASE_RECHECK_SECONDS": "60"}
    async with stack_on(proxy.url, redis_url, **nobody_else_commits) as stack:
        stack.database_url = database_url
        await stack.emulator.hold("after_apply")
        load = Load(stack)
        await load.hand_in(1)
        await stack.emulator.wait_until_held()
        proxy.lose_answers_to(b"COMMIT", one_in=1_000)
        await stack.emulator.let_go()
        request = await stack.wait_for(load.ids[1], "released")
        batch = await stack.batch(request["items"][0]["batch_id"])
        await eventually(lambda: proxy.lost == 1, within=10.0, what="a lost commit")

        assert [attempt["outcome"] for attempt in batch["attempts"]] == ["released"]
        assert len(await stack.emulator.calls()) == 1


async def test_an_unknown_commit_of_a_claim_is_found_out(
    stack_on: StackOn, proxy: PostgresProxy, redis_url: str, database_url: str
) -> None:
    """The answer to the commit that seals a batch is lost: the worker reads it back and makes the call at once."""
    nobody_else_commits = {"RELEASE_SWEEP_SECONDS": "60", "RELEASE_RECHECK_SECONDS": "60"}
    async with stack_on(
        proxy.url, redis_url, RELEASE_BATCH_QUIET_SECONDS="1", **nobody_else_commits
    ) as stack:
        stack.database_url = database_url
        load = Load(stack)
        await load.hand_in(1)
        await stack.wait_for(load.ids[1], "released")  # so the worker's own first commits are over
        await load.hand_in(2)
        proxy.lose_answers_to(b"COMMIT", one_in=1_000)
        request = await stack.wait_for(load.ids[2], "released")
        batch = await stack.batch(request["items"][0]["batch_id"])

        assert proxy.lost == 1
        assert [attempt["outcome"] for attempt in batch["attempts"]] == ["released"]
        assert len(await stack.emulator.calls()) == 2
