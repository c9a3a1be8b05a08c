"""Everything on this machine: embedded servers, the emulator, one HTTP process and workers, for ``up`` and ``demo``."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from service.commands.local_keys import local_keys, write_sdk_environment
from service.core.errors import ConfigurationError, ServiceError
from service.embedded.postgres import EmbeddedPostgres
from service.embedded.process import die_with_parent
from service.embedded.valkey import EmbeddedValkey
from service.emulator.config import DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, EmulatorConfig
from service.gateways import migrate

_READY_WITHIN_SECONDS = 30.0
_STOP_WITHIN_SECONDS = 45.0
_POLL_SECONDS = 0.05
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "PYTHONPATH")
_OF_TRACES = ("RELEASE_TRACING", "OTEL_")
_DIRECTORY_MODE = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    """The addresses of a running stack, and a key to it."""

    api_url: str
    emulator_url: str
    database_url: str
    redis_url: str
    api_key: str
    #: What the secrets of access keys are sealed with.
    secret_key: str
    project_id: str
    logs: Path
    #: A file of variables for the vendor's SDKs.
    sdk_environment: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """Where the data lies, which port is served, and what differs from the defaults."""

    data: Path
    #: 0 takes any free port.
    port: int
    workers: int = 1
    environment: Mapping[str, str] | None = None


@asynccontextmanager
async def local_stack(options: LocalOptions) -> AsyncIterator[LocalStack]:
    """Start everything, lend its addresses, and stop everything in reverse.

    Raises:
        ServiceError: a part did not start; the message says which and where its log is.
    """
    data = options.data.absolute()
    port = options.port or free_port()
    check_port(port)
    logs = _private_directory(data / "logs")
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(EmbeddedPostgres(_private_directory(data / "postgres")))
        valkey = await stack.enter_async_context(EmbeddedValkey(_private_directory(data / "valkey")))
        await migrate.migrate(postgres.url)
        emulator_url = await stack.enter_async_context(_emulator(data, logs))
        keys = await local_keys(data, postgres.url)
        running = LocalStack(
            api_url=f"http://127.0.0.1:{port}",
            emulator_url=emulator_url,
            database_url=postgres.url,
            redis_url=valkey.url,
            api_key=keys.api_key,
            secret_key=keys.secret_key,
            project_id=DEFAULT_PROJECT_ID,
            logs=logs,
            sdk_environment=data / "sdk.env",
        )
        write_sdk_environment(
            running.sdk_environment, keys, api_url=running.api_url, project_id=running.project_id
        )
        environment = service_environment(running, port) | dict(options.environment or {})
        await stack.enter_async_context(_service("api", "api", environment=environment, logs=logs))
        for number in range(1, options.workers + 1):
            await stack.enter_async_context(
                _service("worker", f"worker-{number}", environment=environment, logs=logs)
            )
        await _wait_until_ready(running)
        yield running


def service_environment(stack: LocalStack, port: int) -> dict[str, str]:
    """Return the settings with which the processes of a stack find each other."""
    passed_on = {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(_OF_TRACES)
    }
    return passed_on | {
        "RELEASE_DATABASE_URL": stack.database_url,
        "RELEASE_REDIS_URL": stack.redis_url,
        "RELEASE_HTTP_PORT": str(port),
        "RELEASE_SECRET_KEY": stack.secret_key,
        "RELEASE_VENDOR_URL": stack.emulator_url,
        "RELEASE_PROJECT_ID": stack.project_id,
        "RELEASE_DEFAULT_WORKSPACE": "demo",
        "RELEASE_LOG_FORMAT": "json",
        "HUAWEICLOUD_SDK_AK": DEFAULT_ACCESS_KEY,
        "HUAWEICLOUD_SDK_SK": EmulatorConfig().access_keys[DEFAULT_ACCESS_KEY],
    }


def free_port() -> int:
    """Return a port of the loopback address that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(port: int) -> None:
    """Check that a port of the loopback address is free.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError as error:
        raise ConfigurationError(f"--port: expected a free port; {port}: {error.strerror}") from None


def _private_directory(path: Path) -> Path:
    path.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    return path


@asynccontextmanager
async def _emulator(data: Path, logs: Path) -> AsyncIterator[str]:
    """Run the vendor emulator in a process of its own; lends its URL."""
    arguments = ["-m", "service.emulator", "--port", "0", "--ledger", str(data / "emulator.jsonl")]
    with (logs / "emulator.log").open("ab") as errors:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    async with _stopped_at_end(child):
        if child.stdout is None:
            raise AssertionError("stdout was asked for")
        line = (await asyncio.wait_for(child.stdout.readline(), _READY_WITHIN_SECONDS)).decode()
        if "http" not in line:
            raise ServiceError(f"the emulator did not start: see {logs / 'emulator.log'}")
        yield line.split()[-1]


@asynccontextmanager
async def _service(
    command: str, name: str, *, environment: Mapping[str, str], logs: Path
) -> AsyncIterator[None]:
    with (logs / f"{name}.log").open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "service",
            command,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    async with _stopped_at_end(child):
        yield


@asynccontextmanager
async def _stopped_at_end(child: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if child.returncode is None:
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), _STOP_WITHIN_SECONDS)
        except TimeoutError:
            child.kill()
            await child.wait()


async def _wait_until_ready(stack: LocalStack) -> None:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _READY_WITHIN_SECONDS
    async with aiohttp.ClientSession() as session:
        while loop.time() < give_up_at:
            try:
                async with session.get(f"{stack.api_url}/readyz") as response:
                    if response.ok:
                        return
            except aiohttp.ClientError:
                pass  # it is not listening yet
            await asyncio.sleep(_POLL_SECONDS)
    raise ServiceError(f"the HTTP process did not become ready: see {stack.logs / 'api.log'}")
