"""Runs the emulator alone: ``python -m service.emulator --port N --ledger FILE``."""

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

import uvloop
from pydantic import TypeAdapter

from service.core.errors import ServiceError
from service.emulator.app import serve
from service.emulator.config import EmulatorConfig
from service.emulator.faults import Faults
from service.emulator.parsing import Invalid, parse

_FAILED = 1
_USAGE = 2
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    arguments = _read_arguments()
    faults = _read_faults(arguments.faults)
    if isinstance(faults, Invalid):
        return _complain(f"{arguments.faults}: {faults.sentence}", _USAGE)
    config = EmulatorConfig(port=arguments.port, ledger_path=arguments.ledger, faults=faults)
    if arguments.die_with_parent:
        _die_with_parent()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(config))
    except (ServiceError, OSError) as error:
        return _complain(str(error), _FAILED)
    return 0


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="service.emulator", description="Runs the vendor emulator.")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--ledger", type=Path, help="file that keeps what happened; without it, memory only")
    parser.add_argument("--faults", type=Path, help="JSON file, as PUT /_faults takes it")
    parser.add_argument("--die-with-parent", action="store_true", help="stop when the starter dies")
    return parser.parse_args()


def _read_faults(path: Path | None) -> Faults | Invalid:
    if path is None:
        return Faults()
    try:
        return parse(TypeAdapter(Faults), path.read_bytes())
    except OSError as error:
        return Invalid(sentence=error.strerror or "cannot be read")


async def _run(config: EmulatorConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, stop=stop, on_ready=_announce)


def _announce(url: str) -> None:
    sys.stdout.write(f"emulator ready on {url}\n")
    sys.stdout.flush()


def _complain(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"emulator: {sentence}\n")
    return exit_code


def _die_with_parent() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have died before the kernel knew the wish.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
