"""IAM tokens that carry their own proof, so that they outlive a restart of the emulator."""

import base64
import hashlib
import hmac
from dataclasses import dataclass

import orjson

from service.emulator.config import IamUser


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Whose token it is and when it was issued and expires, in Unix seconds."""

    user: str
    issued: float
    expires: float


def seal(token: Token, password: str) -> str:
    """Write a token as the ``X-Subject-Token`` header carries it."""
    payload = base64.urlsafe_b64encode(orjson.dumps(token)).decode()
    return f"{payload}.{_proof(payload, password)}"


def open_token(text: str, users: tuple[IamUser, ...]) -> Token | None:
    """Read a token of one of the users, expired or not; None for anything else."""
    payload, _, proof = text.partition(".")
    token = _decode(payload)
    user = next((user for user in users if token is not None and user.name == token.user), None)
    if token is None or user is None:
        return None
    return token if hmac.compare_digest(proof.encode(), _proof(payload, user.password).encode()) else None


def claimed_user(text: str) -> str | None:
    """Tell whose token it claims to be."""
    token = _decode(text.partition(".")[0])
    return None if token is None else token.user


def _decode(payload: str) -> Token | None:
    try:
        return Token(**orjson.loads(base64.urlsafe_b64decode(payload.encode())))
    except (ValueError, TypeError):
        return None


def _proof(payload: str, password: str) -> str:
    return hmac.new(password.encode(), payload.encode(), hashlib.sha256).hexdigest()
