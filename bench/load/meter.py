"""Reads CPU time and memory of processes from ``/proc``."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process and all that it has started have used."""

    cpu_seconds: float
    #: Of the process alone.
    resident_mib: float


@dataclass(frozen=True, slots=True)
class _Entry:
    parent: int
    ticks: int
    #: Of children that have ended.
    ended_ticks: int


def usage_of(pid: int) -> Usage:
    """Return the usage of a process; one that has ended, or is elsewhere, has used nothing."""
    entries = _read_all()
    tree = _tree(pid, entries)
    ticks = sum(entries[each].ticks + entries[each].ended_ticks for each in tree)
    return Usage(cpu_seconds=ticks / _TICKS, resident_mib=_resident_mib(pid))


def _read_all() -> dict[int, _Entry]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    read = {pid: _read(pid) for pid in pids}
    return {pid: entry for pid, entry in read.items() if entry is not None}


def _read(pid: int) -> _Entry | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(") ")[2].split()
    user, system, ended_user, ended_system = map(int, fields[11:15])
    return _Entry(parent=int(fields[1]), ticks=user + system, ended_ticks=ended_user + ended_system)


def _tree(root: int, entries: dict[int, _Entry]) -> set[int]:
    found = {root} & entries.keys()
    while more := {pid for pid, entry in entries.items() if entry.parent in found} - found:
        found |= more
    return found


def _resident_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    sizes = [int(line.split()[1]) for line in lines if line.startswith("VmRSS:")]
    return sizes[0] / 1024 if sizes else 0.0
