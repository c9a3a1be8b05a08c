"""The whole service as processes against the emulator, as it runs in production."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from service.emulator.config import DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, EmulatorConfig
from tests.support.emulator import EmulatorProcess
from tests.support.processes import ServiceProcess
from tests.support.sql import fetch_value
from tests.support.waiting import eventually

#: States in which a request stays unless somebody decides.
AT_REST = frozenset({"in_doubt", "needs_attention"})


class Stack:
    """Addresses of Postgres and Redis, an emulator, and the processes that a test starts; ends with the test."""

    def __init__(
        self,
        *,
        database_url: str,
        redis_url: str,
        emulator: EmulatorProcess,
        directory: Path,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.emulator = emulator
        self.processes: list[ServiceProcess] = []
        self._directory = directory
        self._port = free_port()
        self._settings = dict(settings or {})
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
        if self._session is not None:
            await self._session.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        """The session of the test."""
        assert self._session is not None
        return self._session

    @property
    def url(self) -> str:
        """Base URL of the HTTP process."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of every process of the stack."""
        return {
            "RELEASE_DATABASE_URL": self.database_url,
            "RELEASE_REDIS_URL": self.redis_url,
            "RELEASE_HTTP_PORT": str(self._port),
            "RELEASE_AUTH": "off",
            "RELEASE_VENDOR_URL": self.emulator.url,
            "RELEASE_PROJECT_ID": DEFAULT_PROJECT_ID,
            "RELEASE_VENDOR_RATE": "0",
            "RELEASE_LOG_FORMAT": "json",
            "HUAWEICLOUD_SDK_AK": DEFAULT_ACCESS_KEY,
            "HUAWEICLOUD_SDK_SK": EmulatorConfig().access_keys[DEFAULT_ACCESS_KEY],
            **self._settings,
        }

    def start(self, *arguments: str, **settings: str) -> ServiceProcess:
        """Start a command with the settings of the stack; the test's end kills it."""
        environment = {**self.environment, **settings}
        process = ServiceProcess(*arguments, environment=environment, directory=self._directory)
        self.processes.append(process)
        return process

    async def start_api(self) -> ServiceProcess:
        """Start an HTTP process and wait until it is ready."""
        process = self.start("api")
        await process.wait_for_line("process.started")
        return process

    async def start_worker(self, **settings: str) -> ServiceProcess:
        """Start a worker and wait until it works."""
        process = self.start("worker", **settings)
        await process.wait_for_line("process.started")
        return process

    async def submit(self, body: Mapping[str, Any], **headers: str) -> dict[str, Any]:
        """Hand in a request, which must be accepted, and return it."""
        async with self.http.post(f"{self.url}/v1/release-requests", json=body, headers=headers) as response:
            text = await response.text()
            assert response.status == 202, text
            accepted: dict[str, Any] = json.loads(text)
            return accepted

    async def submit_all(self, bodies: Iterable[Mapping[str, Any]], *, connections: int = 64) -> list[str]:
        """Hand in requests from several connections at once; returns their ids."""
        left = iter(bodies)
        ids: list[str] = []

        async def client() -> None:
            for body in left:
                ids.append((await self.submit(body))["id"])  # noqa: PERF401 - several clients share the iterator

        await asyncio.gather(*(client() for _ in range(connections)))
        return ids

    async def show(self, request_id: str) -> dict[str, Any]:
        """Ask where a request stands."""
        async with self.http.get(f"{self.url}/v1/release-requests/{request_id}") as response:
            assert response.status == 200, await response.text()
            shown: dict[str, Any] = await response.json()
            return shown

    async def wait_for(self, request_id: str, *states: str, within: float = 20.0) -> dict[str, Any]:
        """Wait until a request is in one of the states, and return it."""

        async def shown() -> dict[str, Any] | None:
            request = await self.show(request_id)
            return request if request["state"] in states else None

        return await eventually(shown, within=within, what=f"{request_id} {states}") or {}

    async def wait_for_state(self, request_id: str, state: str, *, within: float = 20.0) -> None:
        """Wait until the database has a request in this state: for a service that asks for keys."""

        async def is_there() -> bool:
            query = "SELECT state::text FROM release_requests WHERE id = $1::uuid"
            return bool(await fetch_value(self.database_url, query, request_id) == state)

        await eventually(is_there, within=within, what=f"{request_id} {state}")

    async def wait_until_at_rest(self, ids: Sequence[str], *, within: float = 60.0) -> list[dict[str, Any]]:
        """Wait until every request is done or waits for a decision; return them all."""
        left = set(ids)
        seen: dict[str, dict[str, Any]] = {}

        async def all_at_rest() -> bool:
            for request_id in sorted(left):
                request = await self.show(request_id)
                if request["done"] or request["state"] in AT_REST:
                    seen[request_id] = request
            left.difference_update(seen)
            return not left

        await eventually(all_at_rest, within=within, every=0.2, what=f"{len(left)} requests at rest")
        return [seen[request_id] for request_id in ids]

    async def operate(
        self, workspace: str, action: str, *, method: str = "POST", **members: object
    ) -> dict[str, Any]:
        """Pause, resume or flush a workspace, or put its settings, and return it."""
        address = f"{self.url}/v1/workspaces/{DEFAULT_PROJECT_ID}/{workspace}/{action}"
        async with self.http.request(method, address, json=members) as response:
            assert response.status == 200, await response.text()
            shown: dict[str, Any] = await response.json()
            return shown

    async def settle(self, workspace: str, **members: object) -> dict[str, Any]:
        """Change settings of a workspace, and return it."""
        return await self.operate(workspace, "settings", method="PUT", **members)

    async def workspace(self, workspace: str) -> dict[str, Any]:
        """Show a workspace."""
        address = f"{self.url}/v1/workspaces/{DEFAULT_PROJECT_ID}/{workspace}"
        async with self.http.get(address) as response:
            assert response.status == 200, await response.text()
            shown: dict[str, Any] = await response.json()
            return shown

    async def batch(self, batch_id: str) -> dict[str, Any]:
        """Show a batch."""
        async with self.http.get(f"{self.url}/v1/batches/{batch_id}") as response:
            assert response.status == 200, await response.text()
            shown: dict[str, Any] = await response.json()
            return shown


@asynccontextmanager
async def running_stack(
    *,
    database_url: str,
    redis_url: str,
    directory: Path,
    faults: Mapping[str, object],
    **settings: str,
) -> AsyncIterator[Stack]:
    """Run an emulator and lend a stack without processes."""
    async with (
        EmulatorProcess(directory, faults=faults) as emulator,
        Stack(
            database_url=database_url,
            redis_url=redis_url,
            emulator=emulator,
            directory=directory,
            settings=settings,
        ) as stack,
    ):
        yield stack


def free_port() -> int:
    """Return a port of the loopback address that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def body(
    *items: str, workspace: str = "ws-1", applicant: str = "applicant", **members: object
) -> dict[str, Any]:
    """Return the body of a request."""
    return {
        "workspace": workspace,
        "apply_user_id": applicant,
        "approver_ids": [f"approver-of-{applicant}"],
        "pending_item_list": list(items),
        **members,
    }


async def package_by_hand(stack: Stack, *items: str, name: str = "by-hand") -> None:
    """Make a package as somebody at the console would."""
    address = (
        f"{stack.emulator.url}/v2/{stack.environment['RELEASE_PROJECT_ID']}/factory/pending-items/package"
    )
    application = {
        "apply_user_id": "applicant",
        "package_name": name,
        "pending_item_list": list(items),
        "approver_ids": ["approver-of-applicant"],
    }
    async with stack.http.post(address, json=application, headers={"workspace": "ws-1"}) as response:
        assert response.status == 200, await response.text()


def many_bodies(count: int, *, workspaces: int = 20, per_request: int = 3) -> list[dict[str, Any]]:
    """Return bodies of 1 to ``per_request`` items each, spread over workspaces with two applicants each."""
    numbers = iter(range(1, count * per_request + 1))
    return [
        body(
            *(str(next(numbers)) for _ in range(1 + index % per_request)),
            workspace=f"ws-{index % workspaces}",
            applicant=f"applicant-{(index // workspaces) % 2}",
        )
        for index in range(count)
    ]


async def assert_ledger_agrees(stack: Stack, requests: Sequence[Mapping[str, Any]]) -> None:
    """Check that the vendor has what the service says, item for item, and nothing twice."""
    ledger = await stack.emulator.ledger()
    packages = {
        (package["workspace"], item): package for package in ledger["packages"] for item in package["items"]
    }
    rows = [
        (request, item, (request["workspace"], item["pending_item_id"]))
        for request in requests
        for item in request["items"]
    ]
    released = {place for _, item, place in rows if item["state"] == "released"}
    for request, item, place in rows:
        if item["state"] == "released" or place not in released:
            assert_item_agrees(request, item, packages.get(place))

    assert ledger["duplicates"] == []
    assert packages.keys() <= {place for _, _, place in rows}, "the vendor has items that nobody asked for"


def assert_item_agrees(
    request: Mapping[str, Any], item: Mapping[str, Any], package: Mapping[str, Any] | None
) -> None:
    """Check one item against the package that the vendor has it in."""
    match item["state"]:
        case "released":
            assert package is not None, item
            assert item["release_package_id"] == package["package_id"]
            assert item["package_name"] == package["package_name"]
            assert request["apply_user_id"] == package["apply_user_id"]
            assert sorted(request["approver_ids"]) == sorted(package["approver_ids"])
        case "in_doubt" | "needs_attention":
            pass  # the vendor may have it or not
        case _:
            assert package is None, item


def most_in_a_second(calls: Sequence[Mapping[str, Any]]) -> int:
    """Return the most calls that any sliding second saw."""
    times = sorted(call["at"] for call in calls)
    return max((sum(start <= at < start + 1.0 for at in times) for start in times), default=0)


def most_at_once(calls: Sequence[Mapping[str, Any]]) -> int:
    """Return how many calls were open at once, at most."""
    return max(
        (sum(other["started"] <= call["started"] < other["ended"] for other in calls) for call in calls),
        default=0,
    )


def best_rate(calls: Sequence[Mapping[str, Any]], *, over: int = 24) -> float:
    """Return the calls per second of the best run of so many: a machine that others use is busy now and then."""
    times: list[float] = sorted(call["at"] for call in calls)
    return max(over / (later - earlier) for earlier, later in zip(times, times[over:], strict=False))
