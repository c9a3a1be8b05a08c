"""Where a process and its children listen, read from /proc."""

import re
from contextlib import suppress
from pathlib import Path

_LISTENING = "0A"


def listening_addresses(pid: int) -> set[tuple[str, int]]:
    """Return the TCP addresses on which a process or any of its descendants listens."""
    inodes = {inode for one in descendants(pid) for inode in socket_inodes(one)}
    return {address for inode, address in listeners().items() if inode in inodes}


def descendants(pid: int) -> set[int]:
    """Return a process and all processes that it, or one of them, started."""
    parents = {child: parent for child, parent in all_parents() if parent}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def all_parents() -> list[tuple[int, int]]:
    """Return (process, parent) of every process."""
    pairs = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            pairs.append((int(path.parent.name), int(fields[1])))
    return pairs


def socket_inodes(pid: int) -> set[str]:
    """Return the inodes of the sockets that a process holds."""
    inodes = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                match = re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))
                if match:
                    inodes.add(match[1])
    return inodes


def listeners() -> dict[str, tuple[str, int]]:
    """Return the listening TCP sockets of this machine: inode to address."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                host, _, port = fields[1].partition(":")
                found[fields[9]] = ("127.0.0.1" if host == "0100007F" else host, int(port, 16))
    return found
