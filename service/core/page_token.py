"""Page tokens: where the next page of a list begins. Opaque to callers, and good for the very list that gave them."""

import base64
import binascii
import hashlib

import orjson

_LONGEST = 500


def encode_page_token(filters: object, *position: str) -> str:
    """Write the position of the last row of a page; ``filters`` is whatever the list was asked for, as JSON."""
    written = orjson.dumps([_digest(filters), *position])
    return base64.urlsafe_b64encode(written).rstrip(b"=").decode()


def decode_page_token(token: str, filters: object) -> tuple[str, ...] | None:
    """Return the position in a token; None where it is not one of ours, or of a list with other filters."""
    if len(token) > _LONGEST:
        return None
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        written = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    if not (isinstance(written, list) and all(isinstance(part, str) for part in written)):
        return None
    return tuple(written[1:]) if written[:1] == [_digest(filters)] else None


def _digest(filters: object) -> str:
    return hashlib.blake2b(orjson.dumps(filters, option=orjson.OPT_SORT_KEYS), digest_size=6).hexdigest()
