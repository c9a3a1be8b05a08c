"""The commands that run something: processes, the emulator, everything at once."""

import socket
from pathlib import Path

import click

from service.commands.demo import run_demo
from service.commands.emulator import read_faults, run_emulator
from service.commands.http import run_http, run_http_processes
from service.commands.options import command_errors
from service.commands.start import Start, read_start, run
from service.commands.up import run_up
from service.emulator.config import EmulatorConfig
from service.worker import run_worker


@click.command()
@command_errors
def demo() -> int:
    """Run the main job on embedded servers against a vendor that misbehaves, and check the result."""
    return run(run_demo())


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".data"),
    show_default=True,
    help="Directory of all data.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="HTTP port.")
@command_errors
def up(data: Path, port: int) -> int:
    """Run everything on this machine: servers, emulator, API and worker."""
    return run(run_up(data, port))


@click.command()
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on one port."
)
@click.option("--listener", type=int, hidden=True)
@command_errors
def api(processes: int, listener: int | None) -> int:
    """Run the HTTP process. Needs RELEASE_DATABASE_URL and RELEASE_REDIS_URL."""
    start = read_start()
    settings = start.settings
    settings.require_servers()
    if processes > 1:
        return run(run_http_processes(settings, processes))
    held = None if listener is None else socket.socket(fileno=listener)
    return run(run_http(settings, start.credentials, listener=held))


@click.command()
@command_errors
def worker() -> int:
    """Run one worker process. Needs RELEASE_DATABASE_URL, RELEASE_REDIS_URL, a vendor and credentials."""
    start = read_start()
    return run(work(start))


async def work(start: Start) -> int:
    """Run a worker to its end."""
    await run_worker(start.settings, start.credentials)
    return 0


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9080, show_default=True, help="0 takes any free port."
)
@click.option("--faults", type=click.Path(path_type=Path), help="JSON file, as PUT /_faults takes it.")
@click.option("--ledger", type=click.Path(path_type=Path), help="File that keeps what happened.")
@command_errors
def emulator(port: int, faults: Path | None, ledger: Path | None) -> int:
    """Run the vendor emulator alone; what it was asked is at GET /_ledger."""
    return run(run_emulator(EmulatorConfig(port=port, ledger_path=ledger, faults=read_faults(faults))))
