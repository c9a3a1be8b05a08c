"""Many requests at once, against a vendor on good and on bad days."""

from collections import Counter
from typing import Any

import pytest

from tests.main_job.conftest import StackWith
from tests.support.stack import assert_ledger_agrees, many_bodies

LATENCY: dict[str, object] = {"latency_seconds": 0.02}


async def test_2000_requests_over_20_workspaces_are_released_once_each(stack_with: StackWith) -> None:
    """All requests end released, every item in exactly one package, no batch mixed or too large."""
    async with stack_with(LATENCY) as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.start_worker()
        ids = await stack.submit_all(many_bodies(2_000))
        requests = await stack.wait_until_at_rest(ids)
        packages = await stack.emulator.packages()

        assert Counter(request["state"] for request in requests) == {"released": 2_000}
        assert max(len(package["items"]) for package in packages) <= 100
        assert len(packages) < 400, "batches should be well filled under load"
        await assert_ledger_agrees(stack, requests)


@pytest.mark.long
async def test_refusals_before_the_effect_are_tried_again_until_all_is_done(stack_with: StackWith) -> None:
    """With 503s that had no effect and 429s, every request still ends released, and nothing is doubled."""
    rules: list[dict[str, Any]] = [
        {"fault": "503_before", "share": 0.05},
        {"fault": "429", "share": 0.05, "retry_after": "1"},
    ]
    async with stack_with(
        {**LATENCY, "rules": rules},
        RELEASE_BATCH_MAX_ITEMS="20",
        RELEASE_BACKOFF_BASE_SECONDS="0.2",
    ) as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.start_worker()
        ids = await stack.submit_all(many_bodies(2_000))
        requests = await stack.wait_until_at_rest(ids)
        faults = Counter(call["fault"] for call in await stack.emulator.calls())

        assert Counter(request["state"] for request in requests) == {"released": 2_000}
        assert faults["503_before"] > 0
        assert faults["429"] > 0
        await assert_ledger_agrees(stack, requests)


async def test_answers_lost_after_the_effect_leave_items_in_doubt_and_nothing_is_sent_twice(
    stack_with: StackWith,
) -> None:
    """An answer that is lost puts its batch in doubt; no item is in a second call."""
    rules = [{"fault": "drop_after", "share": 0.05}, {"fault": "504_after", "share": 0.05}]
    async with stack_with({**LATENCY, "rules": rules}, RELEASE_BATCH_MAX_ITEMS="20") as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.start_worker()
        ids = await stack.submit_all(many_bodies(2_000))
        requests = await stack.wait_until_at_rest(ids)
        calls = await stack.emulator.calls()
        lost = {
            (call["workspace"], item) for call in calls if call["fault"] is not None for item in call["items"]
        }
        in_doubt = {
            (request["workspace"], item["pending_item_id"])
            for request in requests
            for item in request["items"]
            if item["state"] == "in_doubt"
        }
        sent = Counter((call["workspace"], item) for call in calls for item in call["items"])

        assert lost
        assert lost == in_doubt
        assert max(sent.values()) == 1
        await assert_ledger_agrees(stack, requests)
