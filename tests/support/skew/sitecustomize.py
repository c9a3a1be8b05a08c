"""Sets the wall clock of a Python process wrong: Python runs this at the start, from a directory on PYTHONPATH.

``time.time``, ``time.time_ns`` and ``datetime.now`` are off by ``SKEW_SECONDS``, before anything else has imported
them: for the service and every library in Python. Not covered: what reads the clock without them, which is C code,
``time.gmtime()`` and ``time.localtime()``; nothing that the service decides by does. The monotonic clock is right, as
on a machine whose clock is set wrong.
"""

import datetime as dt
import os
import time as clock
from datetime import UTC, datetime, timedelta, tzinfo
from time import time, time_ns

SKEW_SECONDS = float(os.environ["SKEW_SECONDS"])


def skewed_time() -> float:
    return time() + SKEW_SECONDS


def skewed_time_ns() -> int:
    return time_ns() + int(SKEW_SECONDS * 1e9)


class _IsDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, datetime)


class SkewedDatetime(datetime, metaclass=_IsDatetime):
    """Makes none of its own kind, so that C code finds the dates that it knows."""

    __slots__ = ()

    def __new__(cls, *parts: int, **named: int) -> datetime:  # type: ignore[misc]
        """Make an ordinary one."""
        return datetime(*parts, **named)  # type: ignore[arg-type] # noqa: DTZ001 - as the caller has it

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Return the wrong time."""
        return datetime.now(tz) + timedelta(seconds=SKEW_SECONDS)

    @classmethod
    def utcnow(cls) -> datetime:  # type: ignore[override]
        """Return the wrong time."""
        return cls.now(UTC).replace(tzinfo=None)


for module, name, replacement in (
    (clock, "time", skewed_time),
    (clock, "time_ns", skewed_time_ns),
    (dt, "datetime", SkewedDatetime),
):
    setattr(module, name, replacement)
