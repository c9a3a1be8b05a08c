"""Runs the vendor emulator alone."""

import asyncio
import signal
from pathlib import Path

import click
from pydantic import TypeAdapter

from service.core.errors import ConfigurationError
from service.emulator.app import serve
from service.emulator.config import DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, EmulatorConfig
from service.emulator.faults import Faults
from service.emulator.parsing import Invalid, parse


async def run_emulator(config: EmulatorConfig) -> int:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: the port cannot be used.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def announce(url: str) -> None:
        click.echo(f"emulator ready on {url}")
        click.echo(f"  project     {DEFAULT_PROJECT_ID}")
        click.echo(f"  access key  {DEFAULT_ACCESS_KEY}  {config.access_keys[DEFAULT_ACCESS_KEY]}")

    try:
        await serve(config, stop=stop, on_ready=announce)
    except OSError as error:
        raise ConfigurationError(f"--port: expected a free port; {config.port}: {error.strerror}") from None
    return 0


def read_faults(path: Path | None) -> Faults:
    """Read the faults that the emulator starts with.

    Raises:
        ConfigurationError: the file cannot be read, or says something that the emulator does not know.
    """
    if path is None:
        return Faults()
    try:
        faults = parse(TypeAdapter(Faults), path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"--faults: expected a readable file; {path}: {error.strerror}") from None
    if isinstance(faults, Invalid):
        raise ConfigurationError(f"--faults: {path}: {faults.sentence}")
    return faults
