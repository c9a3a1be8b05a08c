"""Answers that vanish, in every way, many at once: what was made is found, what was not is made once."""

from collections import Counter

from tests.faults.conftest import QUICK, StackWith
from tests.support.stack import Stack, assert_ledger_agrees, body

AFTER = (
    "hang_after",
    "drop_after",
    "500_after",
    "504_after",
    "garbage_200",
    "half_answer",
    "no_id_200",
    "empty_200",
)
BEFORE = ("drop_before", "500_before")
BATCHES = 20
#: Fewer failures in a row than open the breaker of a workspace, whose probes would take turns.
BATCHES_A_WORKSPACE = 4
MANY_AT_ONCE = {"RELEASE_VENDOR_CONCURRENCY": "64", **QUICK}


def workspace_of(fault: str, n: int) -> str:
    return f"ws-{fault}-{n // BATCHES_A_WORKSPACE}"


async def hand_in(stack: Stack, faults: tuple[str, ...]) -> list[str]:
    """Hand in a request of two items for every batch of every fault; an applicant of its own makes it a batch."""
    bodies = [
        body(f"{fault}-{n}-a", f"{fault}-{n}-b", workspace=workspace_of(fault, n), applicant=f"applicant-{n}")
        for fault in faults
        for n in range(BATCHES)
    ]
    for one in bodies:
        items = [{"pending_item_id": item} for item in one["pending_item_list"]]
        await stack.emulator.register_items(one["workspace"], items)
    return await stack.submit_all(bodies)


async def prove_the_credential(stack: Stack) -> str:
    """Have a first call accepted, since until then the limiter lets one call through at a time; returns its request."""
    request_id: str = (await stack.submit(body("1", workspace="ws-proof")))["id"]
    await stack.wait_for(request_id, "released")
    return request_id


async def test_packages_whose_answers_vanish_are_found_and_nothing_is_sent_again(
    stack_with: StackWith,
) -> None:
    """The vendor makes 160 packages and says so of none, in eight ways: each is found, after the one call."""
    workspaces = {workspace_of(fault, n): fault for fault in AFTER for n in range(BATCHES)}
    rules = [{"fault": fault, "workspace": workspace} for workspace, fault in workspaces.items()]
    async with stack_with({"already_packaged": "lax", "rules": rules}, **MANY_AT_ONCE) as stack:
        await stack.start_api()
        await stack.start_worker()
        ids = [await prove_the_credential(stack), *await hand_in(stack, AFTER)]
        requests = [await stack.wait_for(request_id, "released", within=60.0) for request_id in ids]
        met = Counter(call["fault"] for call in await stack.emulator.calls() if call["fault"])

        assert met == dict.fromkeys(AFTER, BATCHES)
        await assert_ledger_agrees(stack, requests)


async def test_calls_that_had_no_effect_are_made_once_more(stack_with: StackWith) -> None:
    """Forty calls are lost before their effect, in two ways: each is made exactly once again, and then released."""
    rules = [
        {"fault": fault, "count": 1, "item": f"{fault}-{n}-a"} for fault in BEFORE for n in range(BATCHES)
    ]
    async with stack_with({"already_packaged": "lax", "rules": rules}, **MANY_AT_ONCE) as stack:
        await stack.start_api()
        await stack.start_worker()
        ids = [await prove_the_credential(stack), *await hand_in(stack, BEFORE)]
        requests = [await stack.wait_for(request_id, "released", within=60.0) for request_id in ids]
        _, *calls = await stack.emulator.calls()
        made = Counter((call["items"][0], call["executed"]) for call in calls)

        assert len(calls) == 2 * len(BEFORE) * BATCHES
        assert set(made.values()) == {1}, "each call once without effect, and once with"
        await assert_ledger_agrees(stack, requests)
