"""Makes UUIDv7 ids (RFC 9562): they sort by time, so new rows land together in an index."""

import os
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0b10 << 62
_BITS_BELOW_TIME = 80
_UUID7 = 7
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANDOM_BITS = (0xFFF << 64) | ((1 << 62) - 1)


def new_id(*, now_ms: int | None = None) -> UUID:
    """Return a new id: 48 bits of milliseconds since 1970, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    random = int.from_bytes(os.urandom(10), "big") & _RANDOM_BITS
    return UUID(int=(milliseconds << _BITS_BELOW_TIME) | _VERSION_7 | _VARIANT_RFC | random)


def first_id_within(span: timedelta) -> UUID:
    """Return what is below all ids of the last ``span``, and above all older ones."""
    milliseconds = time.time_ns() // 1_000_000 - span // timedelta(milliseconds=1)
    return UUID(int=max(milliseconds, 0) << _BITS_BELOW_TIME)


def first_id_at(at: datetime) -> UUID:
    """Return what is below all ids of this millisecond and later, and above all older ones."""
    return UUID(int=(at - _EPOCH) // timedelta(milliseconds=1) << _BITS_BELOW_TIME)


def time_of_id(given: UUID) -> datetime:
    """Return when an id of ours was made, to the millisecond."""
    return _EPOCH + timedelta(milliseconds=given.int >> _BITS_BELOW_TIME)


def is_older_than(span: timedelta, given: UUID) -> bool:
    """Tell whether an id of ours was made longer ago; no other id is."""
    return given.version == _UUID7 and given < first_id_within(span)
