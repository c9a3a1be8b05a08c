"""What a worker uses, opened in the test's own process, for the steps of the flow alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.core.config import Settings
from service.deps import WorkerDeps, open_worker_deps


@asynccontextmanager
async def worker_deps(
    database_url: str, redis_url: str, vendor_url: str = "http://127.0.0.1:9", **settings: str
) -> AsyncIterator[WorkerDeps]:
    """Open what a worker of a vendor without authentication uses, with a limiter that knows no rate."""
    environment = {
        "RELEASE_DATABASE_URL": database_url,
        "RELEASE_REDIS_URL": redis_url,
        "RELEASE_VENDOR_URL": vendor_url,
        "RELEASE_VENDOR_AUTH": "none",
        "RELEASE_VENDOR_RATE": "0",
        **settings,
    }
    async with open_worker_deps(Settings.from_env(environment), None, pool_size=4) as deps:
        await deps.permits.prepare()
        yield deps
