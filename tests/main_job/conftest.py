from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.emulator import UNLIMITED
from tests.support.stack import Stack, running_stack

StackWith = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def stack_with(database_url: str, redis_url: str, tmp_path: Path) -> StackWith:
    """A stack with these faults of the emulator and these settings, on the servers of the test run."""

    @asynccontextmanager
    async def lend(faults: dict[str, object] | None = None, **settings: str) -> AsyncIterator[Stack]:
        async with running_stack(
            database_url=database_url,
            redis_url=redis_url,
            directory=tmp_path,
            faults={**UNLIMITED, **(faults or {})},
            **settings,
        ) as stack:
            yield stack

    return lend


@pytest.fixture
async def stack(stack_with: StackWith) -> AsyncIterator[Stack]:
    """A stack with a well-behaved vendor, one HTTP process and one worker."""
    async with stack_with() as stack:
        await stack.start_api()
        await stack.start_worker()
        yield stack
