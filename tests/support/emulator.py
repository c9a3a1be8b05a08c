"""Runs the vendor emulator as users of it do: as a process of its own, with its ledger on disk."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import aiohttp

from tests.support.nursery import REPOSITORY, Child, Order, spawn

#: Whatever JSON holds.
Json = Any

#: No rate limits: for tests that are about something else.
UNLIMITED = {"rate_user": 0, "rate_api": 0}


class EmulatorProcess:
    """``python -m service.emulator`` with its ledger in ``directory``; killed at the end of ``async with``.

    A restart, after ``kill`` or ``stop``, is on the same port and with the same ledger.
    """

    def __init__(self, directory: Path, *, faults: Mapping[str, object] | None = None) -> None:
        self.ledger_path = directory / "emulator-ledger.jsonl"
        self._directory = directory
        self._faults = faults
        self._port = 0
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """The base URL, the same over restarts."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._child is not None
        return self._child.pid

    @property
    def stderr(self) -> str:
        """What the process has complained about so far."""
        return (self._directory / "emulator.stderr").read_text(errors="replace")

    async def start(self) -> None:
        """Start the process and wait until it listens.

        Raises:
            AssertionError: It ended without listening.
        """
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as said:
            with os.fdopen(writing, "wb") as stdout:
                self._child = self._spawn(stdout)
            line = (await asyncio.to_thread(said.readline)).decode()
        assert line.startswith("emulator ready on http://127.0.0.1:"), self.stderr
        self._port = int(line.rpartition(":")[2])

    def kill(self) -> None:
        """End the process at once (kill -9); harmless after the end."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    async def stop(self) -> int:
        """End the process with SIGTERM and return its exit status."""
        assert self._child is not None
        with suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self._child.wait, 10)

    async def restart(self) -> None:
        """Kill the process if it still runs, and start it again on the same port and ledger."""
        self.kill()
        self._faults = None
        await self.start()

    async def ledger(self, *, since: int = 0) -> dict[str, Any]:
        """Read calls (from an index on), packages and duplicates."""
        answer: dict[str, Any] = await self.control("GET", f"/_ledger?since={since}")
        return answer

    async def calls(self, operation: str = "create_package") -> list[dict[str, Any]]:
        """Read the calls of an operation."""
        calls = (await self.ledger())["calls"]
        return [call for call in calls if call["operation"] == operation]

    async def packages(self) -> list[dict[str, Any]]:
        """Read the packages."""
        packages: list[dict[str, Any]] = (await self.ledger())["packages"]
        return packages

    async def put_faults(self, faults: Mapping[str, object]) -> None:
        """Replace the faults; what is left out goes back to its default."""
        await self.control("PUT", "/_faults", faults)

    async def patch_faults(self, faults: Mapping[str, object]) -> None:
        """Change some of the faults."""
        await self.control("PATCH", "/_faults", faults)

    async def clear_faults(self) -> None:
        """Go back to a vendor on a good day."""
        await self.control("DELETE", "/_faults")

    async def register_items(self, workspace: str, items: Sequence[Mapping[str, object]]) -> None:
        """Register pending items in a workspace of the default project."""
        await self.control("POST", "/_items", {"workspace": workspace, "items": list(items)})

    async def settle(self, package_id: str, action: str) -> None:
        """Approve or revoke a package, or let it fail."""
        await self.control("POST", "/_approve", {"package_id": package_id, "action": action})

    async def hold(self, point: str) -> None:
        """Hold the next create call at ``before_apply``, ``after_apply`` or ``after_answer``."""
        await self.control("POST", "/_hold", {"point": point})

    async def wait_until_held(self, *, within: float = 10.0) -> int:
        """Wait for a call to be held, and return its index in the ledger.

        Raises:
            AssertionError: None was, in time.
        """
        state: dict[str, Any] = await self.control("GET", f"/_hold?wait={within}")
        assert state["held"], f"no call was held within {within} s"
        call: int = state["call"]
        return call

    async def let_go(self) -> None:
        """Let the held call go on."""
        await self.control("POST", "/_release")

    async def control(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Json:
        """Make a call to the emulator's own addresses and return the JSON answer.

        Raises:
            AssertionError: It was refused.
        """
        data = None if body is None else json.dumps(body)
        async with aiohttp.request(method, self.url + path, data=data) as response:
            text = await response.text()
            assert response.status == 200, text
            return json.loads(text)

    def _spawn(self, stdout: IO[bytes]) -> Child:
        order = Order(
            module="service.emulator",
            arguments=self._arguments(),
            environment={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            directory=str(self._directory),
        )
        with (self._directory / "emulator.stderr").open("ab") as stderr:
            return spawn(order, stdout=stdout, stderr=stderr)

    def _arguments(self) -> list[str]:
        arguments = ["--die-with-parent", "--port", str(self._port), "--ledger", str(self.ledger_path)]
        if self._faults is None:
            return arguments
        path = self._directory / "emulator-faults.json"
        path.write_text(json.dumps(self._faults))
        return [*arguments, "--faults", str(path)]
