"""An HTTP server of one handler."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.gateways.vendor.samples import PROJECT

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


PENDING = f"/v2/{PROJECT}/factory/pending-items"


PACKAGES = f"/v2/{PROJECT}/factory/release-packages"


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve every path with one handler and lend the base URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()
