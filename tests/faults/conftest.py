"""Stacks on servers of the test's own, on Postgres behind a proxy, and several side by side."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from service.embedded.valkey import EmbeddedValkey
from tests.main_job.conftest import StackWith, stack_with
from tests.support.emulator import UNLIMITED
from tests.support.servers import Databases, RedisDatabases, server_directory
from tests.support.stack import Stack, running_stack

__all__ = ["QUICK", "SOON", "LendStack", "StackOn", "StackWith", "stack_with"]

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
#: A call in doubt is settled within a few seconds, and a lease outlasts a short outage.
SOON = {
    "RELEASE_CALL_TIMEOUT_SECONDS": "2",
    "RELEASE_LEASE_SECONDS": "4",
    "RELEASE_GRACE_SECONDS": "5",
    "RELEASE_SETTLE_SECONDS": "0.5",
    "RELEASE_RECHECK_SECONDS": "0.2",
}


StackOn = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def stack_on(tmp_path: Path) -> StackOn:
    """A stack on these servers, with one HTTP process and one worker unless it is told otherwise."""

    @asynccontextmanager
    async def lend(
        database_url: str,
        redis_url: str,
        faults: dict[str, object] | None = None,
        *,
        starts: bool = True,
        **settings: str,
    ) -> AsyncIterator[Stack]:
        async with running_stack(
            database_url=database_url,
            redis_url=redis_url,
            directory=tmp_path,
            faults={**UNLIMITED, **(faults or {})},
            **{**SOON, **settings},
        ) as stack:
            if starts:
                await stack.start_api()
                await stack.start_worker()
            yield stack

    return lend


@pytest.fixture
async def forgetful_valkey() -> AsyncIterator[EmbeddedValkey]:
    """A running Valkey server of the test's own that keeps nothing on disk."""
    with server_directory() as directory:
        async with EmbeddedValkey(directory, settings={"appendonly": "no"}) as server:
            yield server


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
