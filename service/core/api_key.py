"""Makes API keys and the form in which they are kept.

A key has 256 random bits, so a plain SHA-256 of it gives nothing away and costs nothing to check.
"""

import hashlib
import secrets

PREFIX = "rel_"


def new_api_key() -> str:
    """Return a new key; it is shown once and kept only as its digest."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(api_key: str) -> bytes:
    """Return what is kept of a key; whatever a header may hold has a digest."""
    return hashlib.sha256(api_key.encode(errors="surrogatepass")).digest()
