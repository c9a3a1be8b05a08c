"""A real Prometheus, as the set-up has fetched it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.nursery import REPOSITORY
from tests.support.stack import free_port
from tests.support.waiting import eventually
from tests.tools.debian_packages import STORE

SHIPPED = REPOSITORY / "deploy" / "prometheus"


def program(name: str) -> Path:
    """Return the path of a program of Prometheus; skip the test where the set-up could not fetch it."""
    path = STORE.program(name)
    if not path.exists():
        pytest.skip(
            f"{name} is not here: `make promtool` fetches it from Debian's packages, where there is apt"
        )
    return path


class Prometheus:
    """The API of a server that runs."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - any JSON
        """Return the data of an answer, which must be a success."""
        async with self._session.get(f"{self._url}/api/v1/{path}", params=parameters) as response:
            answer = await response.json()
            assert answer["status"] == "success", (parameters, answer)
            return answer["data"]

    async def query(self, expression: str) -> list[Mapping[str, Any]]:
        """Return the series of an expression at this moment."""
        result: list[Mapping[str, Any]] = (await self.get("query", query=expression))["result"]
        return result


@asynccontextmanager
async def running_prometheus(directory: Path, *, api: str, worker: str) -> AsyncIterator[Prometheus]:
    """Run the shipped configuration, with these two targets and a short interval, until the block ends."""
    shipped = (SHIPPED / "prometheus.yml").read_text(encoding="utf-8")
    (directory / "prometheus.yml").write_text(
        shipped.replace("15s", "500ms").replace("127.0.0.1:8080", api).replace("127.0.0.1:8081", worker),
        encoding="utf-8",
    )
    (directory / "alerts.yml").write_bytes((SHIPPED / "alerts.yml").read_bytes())
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program("prometheus"),
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}"
            await eventually(lambda: _is_ready(session, url), within=20.0, every=0.1)
            yield Prometheus(url, session)
    finally:
        process.kill()
        await process.wait()


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError):
        async with session.get(f"{url}/-/ready") as response:
            return response.status == 200
    return False
