from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from service.doors.server import Bounds
from tests.main_job.conftest import stack_with
from tests.support.api import Replica, running_replica

__all__ = ["stack_with"]


class StartReplica(Protocol):
    """Starts a replica on the servers of the test run; it ends with the test."""

    async def __call__(self, bounds: Bounds | None = None, /, **settings: str) -> Replica:
        """Start it; the settings are added to the servers' addresses."""


@pytest.fixture
def servers(database_url: str, redis_url: str) -> Mapping[str, str]:
    """The settings that name a database and a logical Redis database of the test's own."""
    return {"RELEASE_DATABASE_URL": database_url, "RELEASE_REDIS_URL": redis_url}


@pytest.fixture
async def start_replica(servers: Mapping[str, str]) -> AsyncIterator[StartReplica]:
    """Replicas of the HTTP process, in the loop of the test."""
    async with AsyncExitStack() as stack:

        async def start(bounds: Bounds | None = None, /, **settings: str) -> Replica:
            return await stack.enter_async_context(running_replica({**servers, **settings}, bounds=bounds))

        yield start


@pytest.fixture
async def replica(start_replica: StartReplica) -> Replica:
    """A replica of the HTTP process without API keys."""
    return await start_replica()


@pytest.fixture
async def other_replica(start_replica: StartReplica) -> Replica:
    """Another replica on the same servers."""
    return await start_replica()
