import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.client import ReleaseClient
from tests.support.emulator import UNLIMITED
from tests.support.intermediary import Intermediary
from tests.support.stack import Stack, running_stack


@pytest.fixture
async def quiet_stack(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """An HTTP process without a worker: what is handed in waits."""
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await stack.start_api()
        yield stack


@pytest.fixture
async def stack(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """A worker, an HTTP process, and a vendor without limits."""
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await asyncio.gather(stack.start_api(), stack.start_worker())
        yield stack


@pytest.fixture
async def intermediary(quiet_stack: Stack) -> AsyncIterator[Intermediary]:
    """A reverse proxy in front of the HTTP process without a worker."""
    async with Intermediary(quiet_stack.url).running() as intermediary:
        yield intermediary


@pytest.fixture
async def client(intermediary: Intermediary) -> AsyncIterator[ReleaseClient]:
    """A client that calls through the intermediary."""
    async with ReleaseClient(intermediary.url, retry_for=20) as client:
        yield client
