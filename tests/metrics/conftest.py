from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.doors.conftest import StartReplica, replica, servers, start_replica
from tests.main_job.conftest import StackWith, stack_with
from tests.main_job.test_reconcile import QUICK
from tests.metrics.scraping import Scraped, scrape
from tests.support.stack import Stack, free_port

__all__ = ["StackWith", "StartReplica", "replica", "servers", "stack_with", "start_replica"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A stack whose worker can be scraped too."""

    stack: Stack
    worker_url: str

    async def api(self) -> Scraped:
        """Scrape the HTTP process."""
        return await scrape(self.stack.url)

    async def worker(self) -> Scraped:
        """Scrape the worker."""
        return await scrape(self.worker_url)


@pytest.fixture
async def watched(stack_with: StackWith) -> AsyncIterator[Watched]:
    """A well-behaved vendor, one HTTP process and one worker with a port of its own."""
    port = free_port()
    async with stack_with(RELEASE_WORKER_HTTP_PORT=str(port), **QUICK) as stack:
        await stack.start_api()
        await stack.start_worker()
        yield Watched(stack=stack, worker_url=f"http://127.0.0.1:{port}")
