"""Seals secrets that must be read again: AES-256-GCM, each bound to the name of what it belongs to.

A sealed secret that was moved to another name does not open.
"""

import os
from base64 import b64decode
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

_KEY_BYTES = 32
_NONCE_BYTES = 12
NO_SEALING_KEY = (
    "RELEASE_SECRET_KEY is not set: expected 32 bytes in base64, as `openssl rand -base64 32` makes them; "
    "the secrets of access keys are sealed with it"
)


def _of_32_bytes(secret: SecretStr) -> SecretStr:
    try:
        if len(sealing_key_of(secret)) == _KEY_BYTES:
            return secret
    except ValueError:
        pass
    raise PydanticCustomError("sealing_key", "32 bytes in base64, as `openssl rand -base64 32` makes them")


SealingKey = Annotated[SecretStr, AfterValidator(_of_32_bytes)]


def sealing_key_of(secret: SecretStr) -> bytes:
    """Return the bytes of a key that the settings hold."""
    return b64decode(secret.get_secret_value(), validate=True)


def seal(secret: str, *, key: bytes, bound_to: str) -> bytes:
    """Encrypt a secret; what is returned begins with its nonce."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret.encode(), bound_to.encode())


def open_sealed(sealed: bytes, *, key: bytes, bound_to: str) -> str | None:
    """Decrypt a secret; None where it was sealed with another key, for another name, or was changed."""
    if len(sealed) <= _NONCE_BYTES:
        return None
    try:
        opened = AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
    except InvalidTag:
        return None
    return opened.decode()
