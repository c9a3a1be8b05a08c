"""Sees to it that connections never use up the files that a process may have open."""

import resource
from dataclasses import dataclass

from service.core.errors import ConfigurationError

#: Connections to PostgreSQL and Redis, the log, and what Python opens now and then.
_OWN_FILES = 128
_LONGEST_BACKLOG = 4_096
_FEWEST_CONNECTIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """How many connections there may be, and how many more may come at once before one is looked at."""

    connections: int
    backlog: int


def make_places(wanted: int) -> Places:
    """Raise the limit of open files as far as it may be, and return what fits below it.

    Raises:
        ConfigurationError: next to nothing fits.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _OWN_FILES + wanted + _LONGEST_BACKLOG
    if soft < needed:
        soft = min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return places_within(soft, wanted)


def places_within(files: int, wanted: int) -> Places:
    """Share out a limit of open files.

    Raises:
        ConfigurationError: next to nothing fits.
    """
    free = files - _OWN_FILES
    if free < 2 * _FEWEST_CONNECTIONS:
        raise ConfigurationError(
            f"the limit of open files: expected {_OWN_FILES + 2 * _FEWEST_CONNECTIONS} or more (ulimit -n); "
            f"given {files}"
        )
    connections = wanted if wanted + _LONGEST_BACKLOG <= free else min(wanted, free // 2)
    return Places(connections=connections, backlog=min(_LONGEST_BACKLOG, free - connections))
