import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.main_job.conftest import StackWith, stack_with
from tests.support.emulator import UNLIMITED
from tests.support.servers import Databases, RedisDatabases
from tests.support.stack import Stack, running_stack

__all__ = ["QUICK", "LendStack", "StackWith", "stack_with"]

LendStack = Callable[..., AbstractAsyncContextManager[Stack]]

#: Short times, so that whatever a worker leaves is taken over and looked up within a few seconds.
QUICK = {
    "RELEASE_CALL_TIMEOUT_SECONDS": "2",
    "RELEASE_LEASE_SECONDS": "2.5",
    "RELEASE_SETTLE_SECONDS": "0.5",
    "RELEASE_RECHECK_SECONDS": "0.5",
    "RELEASE_GRACE_SECONDS": "4",
    "RELEASE_SWEEP_SECONDS": "0.5",
}


@pytest.fixture
def lend_stack(
    databases: Databases, migrated_template: str, redis_databases: RedisDatabases, tmp_path: Path
) -> LendStack:
    """Several stacks at once, each with its faults of the emulator, its settings, and databases of its own."""
    numbers = itertools.count()

    @asynccontextmanager
    async def lend(faults: dict[str, object], **settings: str) -> AsyncIterator[Stack]:
        directory = tmp_path / f"stack-{next(numbers)}"
        directory.mkdir()
        async with (
            databases.fresh(template=migrated_template) as database_url,
            running_stack(
                database_url=database_url,
                redis_url=await redis_databases.fresh(),
                directory=directory,
                faults={**UNLIMITED, **faults},
                **settings,
            ) as stack,
        ):
            yield stack

    return lend
