"""Replicas of the HTTP process inside the test, so that a test can look into them; all they talk to is real."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy

from service.commands.http import new_runner
from service.core.config import Settings
from service.deps import Deps
from service.doors.keys import DEPS, INTAKE
from service.doors.server import Bounds
from service.flow.intake import Intake

REQUESTS = "/v1/release-requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The body, which must be JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The stable code of a problem, which the answer must be, complete and well formed."""
        problem = self.json
        assert self.headers["Content-Type"] == "application/problem+json"
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["X-Request-Id"]
        assert problem["type"] == f"/problems/{problem['code']}"
        assert problem["title"]
        assert problem["detail"]
        assert problem["instance"].startswith("/")
        code: str = problem["code"]
        return code


class Api:
    """Where a service listens, and a session to talk to it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def ask(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,  # noqa: ANN401 - whatever aiohttp sends
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make an HTTP request; the path is sent as it is."""
        async with self.session.request(
            method, self.url + path, data=data, headers=headers, allow_redirects=False
        ) as response:
            body = await response.read()
            return Answer(status=response.status, headers=response.headers, body=body)

    async def get(self, path: str, **headers: str) -> Answer:
        """GET with headers, whose names are written with underscores."""
        return await self.ask("GET", path, headers=_named(headers))

    async def send(self, method: str, path: str, body: object, **headers: str) -> Answer:
        """Send a body: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **_named(headers)}
        return await self.ask(method, path, data=data, headers=sent)

    async def post(self, body: object, **headers: str) -> Answer:
        """Hand in a release request: bytes as they are, anything else as JSON."""
        return await self.send("POST", REQUESTS, body, **headers)

    async def accept(self, body: object, **headers: str) -> Any:  # noqa: ANN401 - any JSON
        """Hand in a release request, which must be accepted, and return it."""
        answer = await self.post(body, **headers)
        assert answer.status == 202, answer.body
        return answer.json

    async def show(self, request_id: str) -> Any:  # noqa: ANN401 - any JSON
        """Ask where a request stands."""
        answer = await self.get(f"{REQUESTS}/{request_id}")
        assert answer.status == 200, answer.body
        return answer.json


class Replica(Api):
    """An HTTP process of the service that runs in the loop of the test."""

    def __init__(self, url: str, session: aiohttp.ClientSession, app: web.Application) -> None:
        super().__init__(url, session)
        self.app = app

    @property
    def deps(self) -> Deps:
        """What the replica talks to."""
        return self.app[DEPS]

    @property
    def intake(self) -> Intake:
        """Its acceptor and waker."""
        return self.app[INTAKE]


@asynccontextmanager
async def running_replica(
    settings: Mapping[str, str], *, bounds: Bounds | None = None
) -> AsyncIterator[Replica]:
    """Run a replica with these settings on a port of its own; without API keys unless they say otherwise."""
    defaults = {"RELEASE_AUTH": "off", "RELEASE_HTTP_PORT": "0", "RELEASE_PROJECT_ID": "project"}
    runner = new_runner(Settings.from_env({**defaults, **settings}), bounds or Bounds())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with new_session() as session:
            yield Replica(f"http://127.0.0.1:{site.port}", session, runner.app)
    finally:
        await runner.cleanup()


def new_session() -> aiohttp.ClientSession:
    """Open a session without a limit of connections, which sends nothing of its own accord."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        skip_auto_headers=("Content-Type", "Accept"),
        timeout=aiohttp.ClientTimeout(total=60),
    )


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
