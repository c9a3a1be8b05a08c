"""The ledger: what it records, and that it outlives the emulator."""

import asyncio
import time
from itertools import pairwise

import aiohttp
import pytest

from tests.emulator.vendor_caller import WORKSPACE, VendorCaller, create_many
from tests.support.emulator import UNLIMITED, EmulatorProcess
from tests.support.stack import most_at_once


async def test_a_call_is_recorded(own_emulator: EmulatorProcess, vendor_caller: VendorCaller) -> None:
    """When, what, where, by whom, how it ended, and that it took effect."""
    before = time.time()
    reply = await vendor_caller.create("1", "2")
    [call] = await own_emulator.calls()

    assert before <= call["at"] <= time.time()
    assert 0 <= call["ended"] - call["started"] < 5
    assert {
        "operation": "create_package",
        "workspace": WORKSPACE,
        "items": ["1", "2"],
        "package_name": "package_of_1_2",
        "status": 200,
        "executed": True,
        "fault": None,
        "caller": "EMULATORACCESSKEY001",
        "request_id": reply.headers["X-Request-Id"],
        "traceparent": None,
    }.items() <= call.items()


async def test_a_package_is_recorded(own_emulator: EmulatorProcess, vendor_caller: VendorCaller) -> None:
    """With its id, items, people and time."""
    before = time.time()
    reply = await vendor_caller.create("1", "2")
    [package] = await own_emulator.packages()

    assert before <= package["at"] <= time.time()
    assert {
        "package_id": reply.json["release_package_id"],
        "package_name": "package_of_1_2",
        "workspace": WORKSPACE,
        "apply_user_id": "f8ccc2ff3c7748e8a7bfede38ae1cffa",
        "items": ["1", "2"],
        "approver_ids": ["7b71e498e75d44048c9a22dd3c54f978"],
    }.items() <= package.items()


async def test_package_ids_grow(own_emulator: EmulatorProcess, vendor_caller: VendorCaller) -> None:
    """Ids are decimal strings that increase, also over a kill."""
    for item in "abc":
        await vendor_caller.create(item)
    await own_emulator.restart()
    await vendor_caller.create("d")
    ids = [package["package_id"] for package in await own_emulator.packages()]

    assert ids == ["1", "2", "3", "4"]


async def test_calls_at_once_can_be_counted(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Eight at a time show as eight at once at most, one at a time never overlap."""
    await own_emulator.put_faults({**UNLIMITED, "latency_seconds": 0.02})
    await create_many(vendor_caller, 40, at_once=8)
    at_once = most_at_once(await own_emulator.calls())
    number = len((await own_emulator.ledger())["calls"])
    await create_many(VendorCaller(own_emulator.url, workspace="ws-b"), 10, at_once=1)
    later = (await own_emulator.ledger(since=number))["calls"]

    assert 2 <= at_once <= 8
    assert all(first["ended"] <= second["started"] for first, second in pairwise(later))


async def test_calls_are_read_from_an_index_on(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Only what is new comes again; an index that is no number is refused with a sentence."""
    for item in "abc":
        await vendor_caller.create(item)
    calls = (await own_emulator.ledger(since=2))["calls"]
    async with aiohttp.request("GET", f"{own_emulator.url}/_ledger?since=x") as response:
        refusal = (response.status, (await response.json())["error"])

    assert [(call["index"], call["items"]) for call in calls] == [(2, ["c"])]
    assert refusal == (400, "since: expected a whole number, given 'x'")


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_everything_comes_back_after_a_restart(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller, ending: str
) -> None:
    """Calls, packages, pending items, faults and their counts are the same after SIGTERM and after kill -9."""
    await own_emulator.register_items("ws-other", [{"pending_item_id": "77", "item_name": "job_77"}])
    rules = [{"fault": "502_after", "count": 1}, {"fault": "drop_after", "count": 1}]
    await own_emulator.put_faults({**UNLIMITED, "rules": rules, "list_lag_seconds": 600})
    await vendor_caller.create("1")
    before = await own_emulator.ledger(), await own_emulator.control("GET", "/_faults")
    exit_status = await own_emulator.stop() if ending == "stop" else 0
    await own_emulator.restart()
    after = await own_emulator.ledger(), await own_emulator.control("GET", "/_faults")
    items = await VendorCaller(own_emulator.url, workspace="ws-other").list_pending_items()
    listed = await vendor_caller.list_packages()

    assert before == after
    assert exit_status == 0
    assert [item["item_name"] for item in items["data"]] == ["job_77"]
    assert listed["total"] == 0
    with pytest.raises(aiohttp.ClientConnectionError):
        await vendor_caller.create("2")
    assert (await vendor_caller.create("3")).status == 200


async def test_an_effect_is_on_disk_before_its_answer(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """A kill between effect and answer leaves a package, and a call without an end that took effect."""
    await own_emulator.hold("after_apply")
    waiting = asyncio.create_task(vendor_caller.create("1"))
    await own_emulator.wait_until_held()
    await own_emulator.restart()
    [outcome] = await asyncio.gather(waiting, return_exceptions=True)
    [call] = await own_emulator.calls()

    assert isinstance(outcome, aiohttp.ClientError)
    assert [package["package_id"] for package in await own_emulator.packages()] == ["1"]
    assert (call["ended"], call["status"], call["executed"]) == (None, None, True)


async def test_a_kill_under_load_loses_no_answered_call(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Every package that a client was told of is in the ledger after kill -9."""
    told: list[str] = []

    async def work(worker: int) -> None:
        for number in range(10_000):
            reply = await vendor_caller.create(f"{worker}-{number}")
            told.append(reply.json["release_package_id"])
            if len(told) == 50:
                own_emulator.kill()

    await asyncio.gather(*(work(worker) for worker in range(4)), return_exceptions=True)
    await own_emulator.restart()
    kept = {package["package_id"] for package in await own_emulator.packages()}

    assert len(told) >= 50
    assert set() == set(told) - kept


async def test_a_torn_last_line_is_ignored(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Half a line at the end does not stop the start, nor spoil the lines after it."""
    await vendor_caller.create("1")
    await own_emulator.stop()
    with own_emulator.ledger_path.open("ab") as file:
        file.write(b'{"kind":"call_star')
    await own_emulator.restart()
    await vendor_caller.create("2")
    await own_emulator.restart()

    assert [package["items"] for package in await own_emulator.packages()] == [["1"], ["2"]]


async def test_a_damaged_line_stops_the_start(
    own_emulator: EmulatorProcess, vendor_caller: VendorCaller
) -> None:
    """Anything but a torn last line is refused, with its number."""
    await vendor_caller.create("1")
    await own_emulator.stop()
    content = own_emulator.ledger_path.read_bytes()
    own_emulator.ledger_path.write_bytes(b"{}\n" + content)
    with pytest.raises(AssertionError, match=r"line 1 of .* cannot be read"):
        await own_emulator.restart()
