"""Writes times as people say them."""

from datetime import UTC, datetime

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def now() -> datetime:
    """Return the time of this machine: ages are for people."""
    return datetime.now(UTC)


def age_of(moment: datetime, *, seen_at: datetime) -> str:
    """Write a time as its distance from another: ``3 min ago``, ``in 2 h``."""
    seconds = (seen_at - moment).total_seconds()
    return f"in {span_of(-seconds)}" if seconds < 0 else f"{span_of(seconds)} ago"


def span_of(seconds: float) -> str:
    """Write a time that passes, in the largest unit that fits."""
    for size, name in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
