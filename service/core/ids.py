"""Makes UUIDv7 ids (RFC 9562): they sort by time, so new rows land together in an index."""

import os
import time
from uuid import UUID

_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0b10 << 62
_RANDOM_BITS = (0xFFF << 64) | ((1 << 62) - 1)


def new_id(*, now_ms: int | None = None) -> UUID:
    """Return a new id: 48 bits of milliseconds since 1970, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    random = int.from_bytes(os.urandom(10), "big") & _RANDOM_BITS
    return UUID(int=(milliseconds << 80) | _VERSION_7 | _VARIANT_RFC | random)
