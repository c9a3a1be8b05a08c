from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from service.core.auditing import Patience
from service.core.config import Settings
from service.flow.audit import audit
from service.gateways.store.database import Database, PoolSize
from tests.support.emulator import UNLIMITED
from tests.support.stack import Stack, running_stack

StackWith = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def stack_with(database_url: str, redis_url: str, tmp_path: Path) -> StackWith:
    """A stack with these faults of the emulator and these settings; the audit holds when the test is through."""

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
            await assert_audit_holds(stack)

    return lend


@pytest.fixture
async def stack(stack_with: StackWith) -> AsyncIterator[Stack]:
    """A stack with a well-behaved vendor, one HTTP process and one worker."""
    async with stack_with() as stack:
        await stack.start_api()
        await stack.start_worker()
        yield stack


async def assert_audit_holds(stack: Stack) -> None:
    """The rules that Postgres alone can tell hold at any moment, whatever still runs."""
    patience = Patience.of(Settings.from_env(stack.environment))
    database = await Database.open(stack.database_url, PoolSize(smallest=1, largest=1))
    try:
        report = await audit(database, patience)
    finally:
        await database.close()
    assert report.is_clean, report
