#!/usr/bin/env python3
"""Prints the part of requirements.lock that is needed for one purpose, with its markers and hashes untouched.

    python deploy/pick_locked.py run      what the service needs to run, and to trace: an image installs nothing later
    python deploy/pick_locked.py build    what building its wheel needs

The lock names the reason for each package in a comment, ``# via``; from the requirements in pyproject.toml those
reasons lead to everything that they need, and to nothing of the test tools and embedded servers.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REASON = re.compile(r"    #(?: via|  ) *([A-Za-z0-9._-]+)")


def main() -> int:
    """Print the part that the first argument names; return the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["otel"]]
    wanted = {"run": run, "build": project["build-system"]["requires"]}
    purpose = sys.argv[1] if len(sys.argv) > 1 else ""
    if purpose not in wanted:
        sys.stderr.write(f"pick_locked.py: expected {' or '.join(wanted)}; given {purpose!r}\n")
        return 2
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    sys.stdout.writelines(pick(lock, wanted[purpose]))
    return 0


def pick(lock: str, requirements: Iterable[str]) -> Iterator[str]:
    """Yield the entries of a lock that the requirements lead to, in the order of the lock."""
    entries = dict(read_entries(lock))
    needed = follow(entries, {name_of(requirement) for requirement in requirements})
    yield from (entry for name, entry in entries.items() if name in needed)


def read_entries(lock: str) -> Iterator[tuple[str, str]]:
    """Yield each package of a lock with its lines."""
    for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", lock)[1:]:
        yield name_of(entry), entry


def follow(entries: Mapping[str, str], roots: set[str]) -> set[str]:
    """Return the roots and all packages that are there because of them."""
    found = set(roots)
    while True:
        more = {name for name, entry in entries.items() if found & set(reasons_of(entry))} - found
        if not more:
            return found
        found |= more


def reasons_of(entry: str) -> Iterator[str]:
    """Yield the names of the packages that an entry is there for."""
    return (normal(found) for found in _REASON.findall(entry))


def name_of(requirement: str) -> str:
    """Return the normalised name at the beginning of a requirement (PEP 503)."""
    found = _NAME.match(requirement)
    if found is None:
        raise ValueError(f"{requirement!r} does not begin with the name of a package")
    return normal(found[0])


def normal(name: str) -> str:
    """Return a name in the one form that compares (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
