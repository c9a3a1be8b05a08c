"""Makes API keys and access keys, and the form in which API keys are kept.

A key has 256 random bits, so a plain SHA-256 of it gives nothing away and costs nothing to check.
"""

import hashlib
import secrets
import string

from service.core.signing import AccessKey

PREFIX = "rel_"
ACCESS_KEY_PREFIX = "REL"
_ACCESS_KEY_LETTERS = string.ascii_uppercase + string.digits
_ACCESS_KEY_LENGTH = 20
_SECRET_LETTERS = string.ascii_letters + string.digits
#: 62 letters: 256 bits.
_SECRET_LENGTH = 43


def new_api_key() -> str:
    """Return a new key; it is shown once and kept only as its digest."""
    return PREFIX + secrets.token_urlsafe(32)


def new_access_key() -> AccessKey:
    """Return a new pair in the vendor's form; its secret is shown once and kept sealed."""
    length = _ACCESS_KEY_LENGTH - len(ACCESS_KEY_PREFIX)
    return AccessKey(
        access_key=ACCESS_KEY_PREFIX + _random_text(_ACCESS_KEY_LETTERS, length),
        secret_key=_random_text(_SECRET_LETTERS, _SECRET_LENGTH),
    )


def digest_of(api_key: str) -> bytes:
    """Return what is kept of a key; whatever a header may hold has a digest."""
    return hashlib.sha256(api_key.encode(errors="surrogatepass")).digest()


def _random_text(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))
