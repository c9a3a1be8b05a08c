"""What Prometheus is told agrees with the API and with the vendor's ledger."""

from collections import Counter
from typing import Any

from tests.metrics.conftest import Watched
from tests.metrics.scraping import Scraped
from tests.support.stack import Stack, body, many_bodies
from tests.support.waiting import eventually

STATES = (
    "accepted", "batched", "releasing", "in_doubt", "needs_attention",
    "released", "partly_released", "rejected", "failed", "cancelled", "expired",
)  # fmt: skip


async def listed(stack: Stack, path: str, members: str) -> list[dict[str, Any]]:
    """Return all entries of a list, page by page."""
    entries: list[dict[str, Any]] = []
    token = ""
    while True:
        separator = "&" if "?" in path else "?"
        address = f"{stack.url}{path}{separator}page_size=200&page_token={token}"
        async with stack.http.get(address) as response:
            page = await response.json()
        entries += page[members]
        token = page["next_page_token"]
        if not token:
            return entries


async def counts_by_state(stack: Stack) -> dict[str, int]:
    """Count the requests of each state as the API lists them."""
    found = {
        state: len(await listed(stack, f"/v1/release-requests?state={state}", "release_requests"))
        for state in STATES
    }
    return {state: count for state, count in found.items() if count}


async def waited_for(watched: Watched, requests: int) -> Scraped:
    """Scrape the worker when it has counted the end of so many requests."""

    async def scraped() -> Scraped | None:
        figures = await watched.worker()
        ended = sum(figures.by("release_finished_total", "state").values())
        return figures if ended >= requests else None

    return (
        await eventually(scraped, within=10.0, every=0.2, what="the ends counted") or await watched.worker()
    )


async def test_what_is_counted_agrees_with_the_api_and_the_ledger(watched: Watched) -> None:
    """Requests by state, waits, batches, calls by outcome, 429s, doubts and duplicates are those that there were."""
    stack = watched.stack
    rules = [
        {"fault": "drop_after", "count": 1, "item": "900"},
        {"fault": "drop_before", "count": 1, "item": "901"},
        {"fault": "429", "count": 1, "item": "902", "retry_after": "1"},
    ]
    await stack.emulator.put_faults(
        {"rules": rules, "poisoned_items": ["903"], "rate_user": 0, "rate_api": 0}
    )
    bodies = [*many_bodies(40), *(body(str(item), workspace=f"own-{item}") for item in range(900, 904))]
    ids = await stack.submit_all(bodies, connections=8)
    again = [await stack.submit(body("950"), **{"Idempotency-Key": "again"}) for _ in range(2)]
    sharing = await stack.submit(body("950"))
    everything = [*ids, again[0]["id"], sharing["id"]]
    requests = await stack.wait_until_at_rest(everything)
    await eventually(lambda: all_done(stack, everything), within=20.0, every=0.2)
    worker, api = await waited_for(watched, len(everything)), await watched.api()
    calls = await stack.emulator.calls()

    assert len(requests) == len(set(everything)) == 46
    assert api.by("release_requests", "state") == await counts_by_state(stack)
    assert worker.by("release_requests", "state") == await counts_by_state(stack)
    assert worker.by("release_finished_total", "state") == await counts_by_state(stack)
    assert worker.value("release_wait_seconds_count") == len(everything)
    assert api.value("release_accepted_total") == len(everything)
    assert api.value("release_commit_group_size_sum") == len(everything) + 1
    assert api.value("release_duplicates_prevented_total") == 2
    assert worker.value("release_duplicates_prevented_total") == 1
    assert worker.by("release_reconciled_total", "result") == {"found": 1, "resent": 1}
    assert worker.value("release_throttled_total") == 1
    seen = outcomes(worker)
    timed = worker.value("release_vendor_call_seconds_count", operation="create_package")
    assert timed == sum(seen.values()) == len(calls) + seen.pop("not_sent", 0)
    assert seen == Counter(outcome_of(call) for call in calls)
    batches = await listed(stack, "/v1/batches", "batches")
    assert worker.value("release_batch_items_count") == len(batches)


def outcomes(figures: Scraped) -> dict[str, float]:
    return {
        dict(labels)["outcome"]: value
        for (name, labels), value in figures.samples.items()
        if name == "release_vendor_calls_total" and ("operation", "create_package") in labels
    }


def outcome_of(call: dict[str, Any]) -> str:
    """Say what the service should make of a call in the ledger."""
    match call["status"]:
        case 200:
            return "released"
        case 429:
            return "throttled"
        case None:
            return "in_doubt"
        case _:
            return "rejected"


async def all_done(stack: Stack, ids: list[str]) -> bool:
    return all([(await stack.show(request_id))["done"] for request_id in ids])


async def test_what_waits_agrees_with_the_api(watched: Watched) -> None:
    """Depth and age of a paused workspace, what is paused, and what needs attention are as the API says."""
    stack = watched.stack
    await stack.operate("ws-1", "pause")
    ids = [(await stack.submit(body(str(item), workspace="ws-1")))["id"] for item in range(3)]
    await eventually(lambda: has_waiting(watched, 3), within=5.0)
    figures = await watched.api()
    shown = await stack.workspace("ws-1")

    assert len(ids) == 3
    assert figures.by("release_requests", "state") == {"accepted": 3} == await counts_by_state(stack)
    assert figures.by("release_waiting_items", "workspace") == {"ws-1": shown["waiting"]}
    age = figures.value("release_oldest_waiting_seconds", workspace="ws-1")
    assert 0 <= shown["oldest_waiting_seconds"] - age < 2
    assert figures.value("release_workspaces_paused") == 1
    assert figures.value("release_needs_attention") == 0
    assert (await watched.worker()).by("release_requests", "state") == {"accepted": 3}


async def has_waiting(watched: Watched, items: int) -> bool:
    figures = await watched.api()
    return figures.by("release_waiting_items", "workspace").get("ws-1") == items
