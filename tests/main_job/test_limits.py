"""The shared limits, measured at the vendor."""

from collections import Counter

from tests.main_job.conftest import StackWith
from tests.support.stack import (
    assert_ledger_agrees,
    best_rate,
    body,
    many_bodies,
    most_at_once,
    most_in_a_second,
)
from tests.support.waiting import eventually


async def test_two_workers_together_never_exceed_the_rate(stack_with: StackWith) -> None:
    """At 8 calls/s no sliding second sees more than 8 and the stated burst of 2, and the rate is used."""
    async with stack_with(RELEASE_VENDOR_RATE="8", RELEASE_BATCH_MAX_ITEMS="5") as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.start_worker()
        ids = await stack.submit_all(many_bodies(160, per_request=2))
        requests = await stack.wait_until_at_rest(ids)
        calls = await stack.emulator.calls()

        assert Counter(request["state"] for request in requests) == {"released": 160}
        assert most_in_a_second(calls) <= 10
        assert best_rate(calls) >= 0.5 * 8
        await assert_ledger_agrees(stack, requests)


async def test_a_workspace_has_a_rate_of_its_own(stack_with: StackWith) -> None:
    """At 4 calls/s a workspace, each sees at most 5 in a sliding second, and they do not slow each other."""
    settings = {"RELEASE_WORKSPACE_RATE": "4", "RELEASE_BATCH_MAX_ITEMS": "1"}
    async with stack_with(**settings) as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.start_worker()
        bodies = [
            body(str(n), workspace=f"ws-{n % 3}", applicant=f"applicant-{n // 3 % 4}") for n in range(48)
        ]
        ids = await stack.submit_all(bodies)
        await stack.wait_until_at_rest(ids)
        calls = await stack.emulator.calls()
        per_workspace = [[call for call in calls if call["workspace"] == f"ws-{n}"] for n in range(3)]

        assert [len(those) for those in per_workspace] == [16, 16, 16]
        assert max(most_in_a_second(those) for those in per_workspace) <= 5
        assert most_in_a_second(calls) > 8


async def test_calls_at_once_stay_within_the_limit(stack_with: StackWith) -> None:
    """With a limit of 3, two workers never have more than 3 calls open, and they do reach 3."""
    faults: dict[str, object] = {"latency_seconds": 0.2}
    async with stack_with(faults, RELEASE_VENDOR_CONCURRENCY="3") as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.start_worker()
        ids = await stack.submit_all([body(str(n), workspace=f"ws-{n}") for n in range(30)])
        await stack.wait_until_at_rest(ids)
        calls = await stack.emulator.calls()

        assert most_at_once(calls) == 3


async def test_waiting_for_a_limit_costs_no_attempt_and_is_shown(stack_with: StackWith) -> None:
    """A request that is throttled again and again shows why it waits, and no attempt, until it is released."""
    throttle = {"rules": [{"fault": "429", "retry_after": "0", "count": 100}]}
    async with stack_with(throttle, RELEASE_MAX_ATTEMPTS="2") as stack:
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("1"))
        attempts: set[int] = set()

        async def released() -> bool:
            request = await stack.show(accepted["id"])
            if request["state"] == "batched":
                attempts.add(request["attempts"])
            return bool(request["state"] == "released")

        await eventually(released, within=30.0)
        calls = await stack.emulator.calls()

        assert attempts == {0}
        assert Counter(call["status"] for call in calls) == {429: 100, 200: 1}
        assert (await stack.show(accepted["id"]))["attempts"] == 1


async def test_a_throttled_workspace_rests_while_others_go_on(stack_with: StackWith) -> None:
    """After a 429 with Retry-After for one workspace it is not called for that long; the other is."""
    rule = {"fault": "429", "retry_after": "4", "count": 1, "workspace": "ws-a"}
    async with stack_with({"rules": [rule]}) as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.start_worker()
        first = await stack.submit(body("a1", workspace="ws-a"))
        held = await stack.wait_for(first["id"], "batched")
        second = await stack.submit(body("a2", workspace="ws-a", applicant="somebody-else"))
        other = await stack.submit(body("b1", workspace="ws-b"))
        await stack.wait_for(other["id"], "released")
        waiting = await stack.show(second["id"])
        await stack.wait_for(first["id"], "released")
        await stack.wait_for(second["id"], "released")
        calls = await stack.emulator.calls()
        throttled_at = next(call["at"] for call in calls if call["status"] == 429)
        resent = [call for call in calls if call["items"] == ["a1"]]

        assert held["wait_reason"] == "workspace_rate"
        assert held["not_before"] is not None
        assert waiting["wait_reason"] == "workspace_rate"
        assert resent[0]["package_name"] == resent[1]["package_name"]
        assert not [
            c for c in calls if c["workspace"] == "ws-a" and throttled_at < c["at"] < throttled_at + 4.0
        ]
        assert [c for c in calls if c["workspace"] == "ws-b" and throttled_at < c["at"] < throttled_at + 4.0]


async def test_a_throttle_of_the_credential_stops_every_workspace(stack_with: StackWith) -> None:
    """The vendor's own limit names the user, so every workspace waits; the limit then is kept."""
    async with stack_with({"rate_user": 3}, RELEASE_BATCH_MAX_ITEMS="1") as stack:
        await stack.start_api()
        await stack.start_worker()
        ids = await stack.submit_all([body(str(n), workspace=f"ws-{n}") for n in range(8)])

        async def is_held() -> bool:
            shown = [await stack.show(request_id) for request_id in ids]
            return any(request["wait_reason"] == "rate" for request in shown)

        await eventually(is_held, within=5.0)
        requests = await stack.wait_until_at_rest(ids)

        assert {request["state"] for request in requests} == {"released"}
        assert {request["attempts"] for request in requests} == {1}
        await assert_ledger_agrees(stack, requests)
