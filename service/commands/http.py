"""Runs the HTTP process, or several of them on one port.

Several processes have a listening socket each, which the parent holds open: while one of them is exchanged its
newcomers wait, and nobody is refused.
"""

import asyncio
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass

import structlog
from aiohttp import web

from service import __version__
from service.app import build_app, say_farewell
from service.background import end_tasks
from service.commands.open_files import make_places
from service.core.config import Settings
from service.core.credentials import Credentials
from service.core.errors import ConfigurationError
from service.core.telemetry import LogEvent
from service.doors.connections import Capacity
from service.doors.server import Bounds, Runner
from service.embedded.process import die_with_parent

_RESTART_PAUSE_SECONDS = 1.0
#: After the end of listening: connections that were just made may send their request, and those that are kept alive are
#: told to close with their next answer. One that is closed in their face would be a failed call.
_FAREWELL_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """Where connections come from: a socket of the parent, or one of its own."""

    listener: socket.socket | None
    backlog: int


class Stop:
    """Whether the process has been told to stop, and whether it has been told twice."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hurried = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._request)

    def _request(self) -> None:
        if self.requested.is_set():
            self.hurried.set()
        self.requested.set()


async def run_http(
    settings: Settings, credentials: Credentials | None, *, listener: socket.socket | None = None
) -> int:
    """Serve until SIGTERM or SIGINT, then answer what is being answered and end; a second signal hurries."""
    settings.require_servers()
    stop = Stop()
    places = make_places(settings.max_connections)
    bounds = Bounds(capacity=Capacity(connections=places.connections))
    runner = new_runner(settings, bounds, credentials)
    if not await _set_up(runner, stop.requested):
        return 0
    try:
        await _serve(runner, settings, stop, Entrance(listener=listener, backlog=places.backlog))
    finally:
        await runner.cleanup()
    log.info(LogEvent.PROCESS_STOPPED, process="api")
    return 0


def new_runner(settings: Settings, bounds: Bounds, credentials: Credentials | None = None) -> Runner:
    """Put the HTTP application and its server together; nothing is opened before its set-up."""
    return Runner(build_app(settings, credentials), bounds, shutdown_timeout=settings.grace.total_seconds())


async def _set_up(runner: Runner, stop: asyncio.Event) -> bool:
    """Open everything, which may wait for servers; False when told to stop meanwhile."""
    opening = asyncio.ensure_future(runner.setup())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not opening.done():
        await end_tasks([opening])
        return False
    await opening
    return True


async def _serve(runner: Runner, settings: Settings, stop: Stop, entrance: Entrance) -> None:
    site: web.BaseSite
    if entrance.listener is None:
        site = web.TCPSite(runner, settings.http_host, settings.http_port, backlog=entrance.backlog)
    else:
        site = web.SockSite(runner, entrance.listener, backlog=entrance.backlog)
    try:
        await site.start()
    except OSError as error:
        raise _port_in_use(settings, error) from error
    log.info(LogEvent.PROCESS_STARTED, process="api", version=__version__, url=site.name)
    await stop.requested.wait()
    await site.stop()
    say_farewell(runner.app)
    await _either(stop.hurried, _FAREWELL_SECONDS)


def _port_in_use(settings: Settings, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"RELEASE_HTTP_PORT: expected a free port; {settings.http_host}:{settings.http_port} cannot be "
        f"used: {error.strerror}"
    )


async def run_http_processes(settings: Settings, processes: int) -> int:
    """Run several HTTP processes on one port until SIGTERM or SIGINT; one that dies is started again.

    Raises:
        ConfigurationError: the port cannot be used.
    """
    if settings.http_port == 0:
        raise ConfigurationError("RELEASE_HTTP_PORT: expected a fixed port with --processes; given 0")
    stop = Stop().requested
    listeners = [await _hold_port(settings) for _ in range(processes)]
    await asyncio.gather(*(_keep_running(listener, stop) for listener in listeners))
    return 0


async def _hold_port(settings: Settings) -> socket.socket:
    """Bind the port; a child listens on it when it is ready. Who else has the port shows now, and not in a child."""
    addresses = await asyncio.get_running_loop().getaddrinfo(
        settings.http_host, settings.http_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, address = addresses[0]
    held = socket.socket(family, kind, protocol)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind(address)
    except OSError as error:
        held.close()
        raise _port_in_use(settings, error) from error
    return held


async def _keep_running(listener: socket.socket, stop: asyncio.Event) -> None:
    """Run a child on a listening socket, and another when it ends, until told to stop."""
    with listener:
        while not stop.is_set():
            child = await _start_child(listener)
            if await _ends_before(child, listener, stop) and child.returncode != 0:
                log.error(LogEvent.PROCESS_FAILED, process="api", reason=f"exit status {child.returncode}")
                await _either(stop, _RESTART_PAUSE_SECONDS)


async def _start_child(listener: socket.socket) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service",
        "api",
        "--listener",
        str(listener.fileno()),
        pass_fds=(listener.fileno(),),
        preexec_fn=die_with_parent(signal.SIGTERM),
        start_new_session=True,
    )


async def _ends_before(
    child: asyncio.subprocess.Process, listener: socket.socket, stop: asyncio.Event
) -> bool:
    """Wait until a child ends by itself; False where it was told to, because the whole is to stop."""
    ended = asyncio.ensure_future(child.wait())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not stop.is_set():
        return True
    listener.close()  # newcomers would wait for nobody
    if child.returncode is None:
        child.terminate()
    await ended
    return False


async def _either(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
