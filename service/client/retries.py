"""Which calls may be repeated, and when: rules without any I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime

_IN_USE = 409
_TOO_MANY = 429
#: The service, or something before it, is away for a moment. What became of the call is not known.
_AWAY = frozenset({502, 503, 504})
#: An intermediary, or the service, had no patience.
_CUT = frozenset({408, 502, 504})
#: Another call with the same key is about to be committed.
_KEY_IN_USE = "idempotency-key-in-use"
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An HTTP request to the service."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whether twice is as once, so that it may be repeated after an answer that was lost.
    is_repeatable: bool = True
    #: The seconds that the service is asked to hold the answer back.
    wait: int = 0


def may_repeat(status: int, code: str, *, is_repeatable: bool) -> bool:
    """Tell whether a refusal is of a moment, and the call did nothing, or may do it twice."""
    if status == _TOO_MANY or (status == _IN_USE and code == _KEY_IN_USE):
        return True
    return is_repeatable and status in _AWAY


def is_cut(status: int) -> bool:
    """Tell whether the answer to a call that waits says that somebody on the way had no patience."""
    return status in _CUT


def pause_before(repeat: int, *, asked: float | None, draw: float) -> float:
    """Return the seconds before a repeat: what was asked for, else a time that doubles.

    Args:
        repeat: 1 for the first.
        asked: The seconds of ``Retry-After``.
        draw: A number of 0 to 1 that keeps many callers from coming at once.
    """
    if asked is not None:
        return asked + draw * _FIRST_PAUSE
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(repeat, _MOST_DOUBLINGS))
    return longest * (0.5 + draw / 2)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After``: seconds, or a date, which counts from the date of the answer and not from our clock."""
    given = headers.get("Retry-After", "").strip()
    if given.isascii() and given.isdigit():
        return float(given)
    until, now = _date_of(given), _date_of(headers.get("Date", ""))
    if until is None or now is None:
        return None
    return max(0.0, (until - now).total_seconds())


def _date_of(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return None if date.tzinfo is None else date
