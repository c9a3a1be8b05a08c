"""The plain worker and this service, behind one face: start, submit, and what a caller is told."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from service.emulator.config import DEFAULT_PROJECT_ID
from tests.support.processes import ServiceProcess
from tests.support.stack import Stack

REPOSITORY = Path(__file__).resolve().parents[2]


class Worker(Protocol):
    """A worker process."""

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""


class System(Protocol):
    """Whatever takes release requests and makes packages of them."""

    workers: list[Worker]

    async def start_worker(self) -> None:
        """Start one more worker."""

    async def submit(self, body: Mapping[str, Any]) -> str:
        """Hand in a request, which is accepted; returns its id."""

    async def told(self, request_id: str) -> str | None:
        """Return what the caller is told in the end: ``released``, another word, or nothing yet."""


class PlainArq:
    """The worker of 40 lines, and the callers that enqueue its jobs."""

    def __init__(self, redis_url: str, vendor_url: str, directory: Path) -> None:
        self.workers: list[Worker] = []
        self._redis_url = redis_url
        self._vendor_url = vendor_url
        self._directory = directory
        self._children: list[subprocess.Popen[bytes]] = []
        self._pool: ArqRedis | None = None

    async def __aenter__(self) -> Self:
        self._pool = await create_pool(RedisSettings.from_dsn(self._redis_url))
        return self

    async def __aexit__(self, *error: object) -> None:
        for child in self._children:
            child.kill()
            child.wait()
        if self._pool is not None:
            await self._pool.aclose()

    @property
    def pool(self) -> ArqRedis:
        """The connection of the callers."""
        assert self._pool is not None  # noqa: S101 - it is open inside ``with``
        return self._pool

    async def start_worker(self) -> None:
        """Start one more worker, and wait until it listens."""
        log = self._directory / f"plain-{len(self._children)}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(  # noqa: ASYNC220 - our own program, started once
                [sys.executable, "-m", "arq", "bench.plain_arq.worker.WorkerSettings"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=REPOSITORY,
                env={**os.environ, "REDIS_URL": self._redis_url, "VENDOR_URL": self._vendor_url},
            )
        self._children.append(child)
        self.workers.append(_Child(child))
        while b"Starting worker" not in log.read_bytes():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.05)

    async def submit(self, body: Mapping[str, Any]) -> str:
        """Enqueue a job."""
        request_id = str(body["pending_item_list"][0])
        workspace = body["workspace"]
        names = ("apply_user_id", "approver_ids", "pending_item_list")
        sent = {**{name: body[name] for name in names}, "package_name": f"release-{request_id}"}
        request = {"id": request_id, "project_id": DEFAULT_PROJECT_ID, "workspace": workspace, "body": sent}
        await self.pool.enqueue_job("release", request, _job_id=request_id)
        return request_id

    async def told(self, request_id: str) -> str | None:
        """Look up what the job has kept."""
        result = await self.pool.get(f"result:{request_id}")
        if result is None:
            return None
        return "failed" if result == b"failed" else "released"


class _Child:
    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)


class Ours:
    """This service: one HTTP process, and the workers."""

    def __init__(self, stack: Stack) -> None:
        self.workers: list[Worker] = []
        self._stack = stack

    async def start_worker(self) -> None:
        """Start one more worker, and wait until it works."""
        process: ServiceProcess = await self._stack.start_worker()
        self.workers.append(process)

    async def submit(self, body: Mapping[str, Any]) -> str:
        """Post a request."""
        accepted = await self._stack.submit(body)
        return str(accepted["id"])

    async def told(self, request_id: str) -> str | None:
        """Ask for the state, once it is at rest."""
        request = await self._stack.show(request_id)
        is_at_rest = request["done"] or request["state"] == "needs_attention"
        return str(request["state"]) if is_at_rest else None
