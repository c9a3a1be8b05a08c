"""Reads times of RFC 3339."""

import re
from datetime import UTC, datetime

#: RFC 3339, 5.6; the space instead of T is its note to readers.
_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def read_moment(text: str) -> datetime | None:
    """Read a time of RFC 3339 as UTC; None where it is none, or none that UTC can name."""
    if _RFC_3339.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
