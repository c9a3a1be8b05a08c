from collections.abc import AsyncIterator

import pytest

from service.client import ReleaseClient
from tests.main_job.conftest import StackWith, stack, stack_with
from tests.support.intermediary import Intermediary
from tests.support.stack import Stack

__all__ = ["stack", "stack_with"]


@pytest.fixture
async def quiet_stack(stack_with: StackWith) -> AsyncIterator[Stack]:
    """An HTTP process without a worker: what is handed in waits."""
    async with stack_with() as stack:
        await stack.start_api()
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
