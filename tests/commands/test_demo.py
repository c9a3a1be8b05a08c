"""The demo as a newcomer runs it."""

import re
from pathlib import Path

import aiohttp

from tests.conftest import StartService
from tests.support.processes import ServiceProcess
from tests.support.sockets import listening_addresses
from tests.support.waiting import eventually


async def emulator_of(demo: ServiceProcess) -> str:
    line = await demo.wait_for_line(
        r"^API http://127\.0\.0\.1:(\d+), emulator (http://127\.0\.0\.1:\d+)$", within=40
    )
    return str(line.group(2))


async def test_the_demo_ends_clean(start_service: StartService) -> None:
    """It exits 0 and its summary has every figure: the vendor throttled, lost answers and refused one item."""
    demo = start_service("demo")
    code = await demo.wait(within=110.0)

    assert code == 0, demo.stdout + demo.stderr
    assert re.search(r"^requests +200: 1 rejected, 199 released$", demo.stdout, re.MULTILINE)
    assert re.search(r"^429s +[1-9]", demo.stdout, re.MULTILINE)
    assert re.search(r"^in doubt +4 calls: 3 found, 1 resent$", demo.stdout, re.MULTILINE)
    assert re.search(r"^duplicates +0$", demo.stdout, re.MULTILINE)
    assert demo.stdout.splitlines()[-1] == (
        "clean: the audit finds nothing, and Postgres and the vendor's ledger agree in every item"
    )
    assert demo.stderr == ""


async def test_the_demo_listens_only_on_loopback_and_only_where_it_says(start_service: StartService) -> None:
    """While it runs, nothing of it listens but the HTTP process and the emulator, both on the loopback address."""
    demo = start_service("demo")
    line = await demo.wait_for_line(
        r"^API http://127\.0\.0\.1:(\d+), emulator http://127\.0\.0\.1:(\d+)$", within=40
    )
    expected = {("127.0.0.1", int(line.group(1))), ("127.0.0.1", int(line.group(2)))}

    assert listening_addresses(demo.pid) == expected


async def test_a_demo_that_is_not_clean_exits_1(start_service: StartService) -> None:
    """A package that nobody asked for, made behind the service's back, is found and named."""
    demo = start_service("demo")
    url = await emulator_of(demo)
    async with aiohttp.ClientSession() as http:
        await eventually(lambda: "accepted" in demo.stdout, within=20.0)
        async with http.patch(f"{url}/_faults", json={"authentication": "off", "rules": []}) as response:
            assert response.status == 200
        await make_package_behind_its_back(http, url)
    code = await demo.wait(within=110.0)

    assert code == 1
    assert "NOT CLEAN" in demo.stdout
    assert "item sales/stranger is in a package, but nobody asked for it" in demo.stdout


async def make_package_behind_its_back(http: aiohttp.ClientSession, url: str) -> None:
    listed = {"workspace": "sales", "items": [{"pending_item_id": "stranger"}]}
    async with http.post(f"{url}/_items", json=listed) as response:
        assert response.status == 200
    body = {
        "apply_user_id": "someone",
        "package_name": "behind-its-back",
        "pending_item_list": ["stranger"],
        "approver_ids": ["approver-of-anna"],
    }

    async def is_made() -> bool:
        path = "/v2/62099355b894428e8916573ae635f1f9/factory/pending-items/package"
        async with http.post(url + path, json=body, headers={"workspace": "sales"}) as response:
            return response.status == 200

    await eventually(is_made, within=15.0, every=0.2)


async def test_nothing_is_left_behind(start_service: StartService, socket_directory: Path) -> None:
    """A demo that is killed takes its servers and processes with it."""
    demo = start_service("demo", environment={"TMPDIR": str(socket_directory)})
    await emulator_of(demo)
    demo_processes = processes_naming(str(socket_directory))
    demo.kill()
    await eventually(lambda: not processes_naming(str(socket_directory)), within=15.0)

    assert demo_processes


def processes_naming(text: str) -> list[str]:
    """The command lines of running processes that name a text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in words:
            found.append(words)
    return found
