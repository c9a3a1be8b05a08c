"""The emulator's own addresses: what a test may tell it, and what it refuses."""

import asyncio

import aiohttp
import pytest

from tests.emulator.vendor_caller import FACTORY, VendorCaller
from tests.support.emulator import UNLIMITED, EmulatorProcess
from tests.support.waiting import eventually


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_bad_faults_are_refused_with_a_sentence(own_emulator: EmulatorProcess, method: str) -> None:
    """The sentence names the member, what was expected and what was given; nothing changes."""
    refusals = {
        '{"rulez": []}': ["rulez: no such member"],
        '{"rules": [{"fault": "nope"}]}': ["rules.0.fault", "'502_after'", "given 'nope'"],
        '{"rules": [{"fault": "429", "colour": 1}]}': ["rules.0.colour: no such member"],
        '{"rules": [{}]}': ["rules.0.fault", "required"],
        '{"rules": [{"fault": "429", "share": 1.5}]}': ["rules.0.share", "less than or equal to 1", "1.5"],
        '{"rules": [{"fault": "429", "count": "3"}]}': ["rules.0.count", "integer", "given '3'"],
        '{"rules": [{"fault": "429", "operation": "x"}]}': ["rules.0.operation", "'create_package'"],
        '{"rules": [{"fault": "429", "retry_after": "soon"}]}': ["rules.0.retry_after", "given 'soon'"],
        '{"already_packaged": "maybe"}': ["already_packaged", "'strict' or 'lax'", "given 'maybe'"],
        '{"latency_seconds": -1}': ["latency_seconds", "greater than or equal to 0", "given -1"],
        '{"rate_user": true}': ["rate_user", "integer", "given True"],
        '{"poisoned_items": "1"}': ["poisoned_items", "given '1'"],
        "[]": ["body", "given []"],
        "{": ["body", "JSON"],
    }
    before = await own_emulator.control("GET", "/_faults")
    for body, parts in refusals.items():
        status, sentence = await refusal(own_emulator, method, "/_faults", body)

        assert status == 400, body
        assert all(part in sentence for part in parts), sentence

    assert before == await own_emulator.control("GET", "/_faults")


async def test_faults_are_replaced_merged_shown_and_cleared(own_emulator: EmulatorProcess) -> None:
    """PUT starts from the defaults, PATCH from what is in force, DELETE goes back to the defaults."""
    defaults = await own_emulator.control("DELETE", "/_faults")
    await own_emulator.put_faults({"rate_user": 3, "rules": [{"fault": "429"}]})
    await own_emulator.patch_faults({"already_packaged": "lax"})
    merged = await own_emulator.control("GET", "/_faults")
    await own_emulator.put_faults({"seed": 9})
    replaced = await own_emulator.control("GET", "/_faults")
    await own_emulator.clear_faults()

    assert (
        merged["rate_user"],
        merged["already_packaged"],
        merged["rules"][0]["fault"],
    ) == (3, "lax", "429")
    assert {**defaults, "seed": 9} == replaced
    assert defaults == await own_emulator.control("GET", "/_faults")


async def test_shown_faults_can_be_put_again(own_emulator: EmulatorProcess) -> None:
    """What GET shows is what PUT takes."""
    await own_emulator.put_faults({"rules": [{"fault": "429", "count": 2, "retry_after": "date:3"}]})
    shown = await own_emulator.control("GET", "/_faults")
    await own_emulator.put_faults(shown)

    assert shown == await own_emulator.control("GET", "/_faults")


async def test_a_merge_leaves_the_counts_of_the_rules_alone(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """A rule that is used up stays so until the rules themselves are set again."""
    rules = [{"fault": "500_before", "count": 1}]
    await own_emulator.put_faults({**UNLIMITED, "rules": rules})
    statuses = [(await vendor_caller.create("1")).status]
    await own_emulator.patch_faults({"already_packaged": "lax"})
    statuses.append((await vendor_caller.create("1")).status)
    await own_emulator.patch_faults({"rules": rules})
    statuses.append((await vendor_caller.create("1")).status)

    assert statuses == [500, 200, 500]


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/_items", '{"workspace": "ws"}', "items"),
        ("/_items", '{"workspace": "ws-1", "items": [{}]}', "items.0.pending_item_id"),
        ("/_items", '{"workspace": "ws-1", "items": [{"pending_item_id": 1}]}', "given 1"),
        ("/_approve", '{"package_id": "9", "action": "approve"}', "no such package, given '9'"),
        ("/_approve", '{"package_id": "9", "action": "bless"}', "'approve', 'revoke' or 'fail'"),
        ("/_hold", '{"point": "somewhere"}', "'before_apply'"),
    ],
)
async def test_other_bad_orders_are_refused_with_a_sentence(
    own_emulator: EmulatorProcess, path: str, body: str, part: str
) -> None:
    """A typing error in a test is told, not taken for an order."""
    status, sentence = await refusal(own_emulator, "POST", path, body)

    assert status == 400
    assert part in sentence


@pytest.mark.parametrize(
    ("action", "status", "deleted", "flag"), [("approve", 2, 0, 1), ("fail", 3, 0, 1), ("revoke", 1, 1, 0)]
)
async def test_a_package_is_settled_on_command(
    own_emulator: EmulatorProcess, action: str, status: int, deleted: int, flag: int
) -> None:
    """Its status or delete flag change as the vendor's do, and with a revoke its items are free again."""
    caller = VendorCaller(own_emulator.url)
    await caller.create("1")
    await own_emulator.settle("1", action)
    package = (await caller.list_packages())["data"][0]
    item = (await caller.list_pending_items())["data"][0]

    assert (status, deleted) == (package["deploy_status"], package["delete_flag"])
    assert flag == item["package_flag"]


async def test_a_deployment_ends_by_itself(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """A deployed package is being released, a little later it is a success."""
    await vendor_caller.create("1")
    path = f"{FACTORY}/release-packages/deploy"
    await vendor_caller.send("POST", path, body={"package_ids": ["1"]})

    async def status() -> int:
        package: dict[str, int] = (await vendor_caller.list_packages())["data"][0]
        return package["deploy_status"]

    assert await status() == 5

    async def is_success() -> bool:
        return await status() == 2

    assert await eventually(is_success, what="the deployment")
    assert len(await own_emulator.packages()) == 1


@pytest.mark.parametrize(
    ("point", "packages_while_held", "answered_while_held"),
    [("before_apply", 0, False), ("after_apply", 1, False), ("after_answer", 1, True)],
)
async def test_a_call_is_held_at_a_named_point(
    own_emulator: EmulatorProcess, point: str, packages_while_held: int, *, answered_while_held: bool
) -> None:
    """The next create call stands still there until it is let go; the one after it passes."""
    caller = VendorCaller(own_emulator.url)
    await own_emulator.hold(point)
    call = asyncio.create_task(caller.create("1"))
    index = await own_emulator.wait_until_held()
    if answered_while_held:
        await call
    seen = len(await own_emulator.packages())
    was_answered = call.done()
    passed = await caller.create("2")
    await own_emulator.let_go()

    assert (packages_while_held, answered_while_held) == (seen, was_answered)
    assert ((await call).status, passed.status) == (200, 200)
    assert (await own_emulator.ledger(since=index))["calls"][0]["items"] == ["1"]
    assert await own_emulator.control("GET", "/_hold") == {"armed": None, "held": False, "call": None}


async def test_a_held_call_takes_effect_though_its_client_is_gone(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """The vendor has the request: it carries on when the caller was killed."""
    await own_emulator.hold("before_apply")
    call = asyncio.create_task(vendor_caller.create("1"))
    await own_emulator.wait_until_held()
    call.cancel()
    await asyncio.wait([call])
    before = await own_emulator.packages()
    await own_emulator.let_go()

    assert before == []
    assert await eventually(own_emulator.packages, what="the package")


async def test_waiting_for_a_hold_ends_without_one(own_emulator: EmulatorProcess) -> None:
    """The long poll answers after its seconds that nothing is held."""
    state = await own_emulator.control("GET", "/_hold?wait=0.2")

    assert state == {"armed": None, "held": False, "call": None}


async def refusal(emulator: EmulatorProcess, method: str, path: str, body: str) -> tuple[int, str]:
    """Send an order that is refused; return status and sentence."""
    async with aiohttp.request(method, emulator.url + path, data=body) as response:
        answer: dict[str, str] = await response.json()
        return response.status, answer["error"]
