"""The emulator as an aiohttp application, and as a server that runs until it is told to stop."""

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from service.emulator import control
from service.emulator.config import EmulatorConfig
from service.emulator.emulator import EMULATOR, Emulator
from service.emulator.exchange import answer_vendor_call

#: Somewhat more than the gateway takes, so that it can read, and refuse, what is a little too large.
_READ_BYTES = 13 * 1024 * 1024
_SHUTDOWN_SECONDS = 0.5


def build_app(config: EmulatorConfig) -> web.Application:
    """Build the application.

    Raises:
        LedgerDamagedError: The ledger cannot be read.
    """
    app = web.Application(client_max_size=_READ_BYTES)
    app[EMULATOR] = Emulator.start(config)
    app.cleanup_ctx.append(_close_emulator)
    app.add_routes(control.routes)
    app.router.add_route("*", "/{address:.*}", answer_vendor_call)
    return app


async def serve(config: EmulatorConfig, *, stop: asyncio.Event, on_ready: Callable[[str], None]) -> None:
    """Listen, tell the base URL, and run until the event is set.

    Raises:
        LedgerDamagedError: The ledger cannot be read.
        OSError: The address cannot be listened on.
    """
    runner = web.AppRunner(build_app(config), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port, backlog=1024)
        await site.start()
        on_ready(_base_url(runner))
        await stop.wait()
    finally:
        await runner.cleanup()


def _base_url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _close_emulator(app: web.Application) -> AsyncIterator[None]:
    yield
    app[EMULATOR].stop()
