"""Who calls: an access key by its signature, or an IAM user by a token.

Rules: X-Sdk-Date within 15 minutes; a key that failed more than five times in a row is locked for five
minutes (API Gateway FAQ, "AK access failed to reach the limit").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from service.core.signing import (
    ALGORITHM,
    DATE_FORMAT,
    DATE_HEADER,
    Signable,
    Signature,
    canonical_request,
    is_signed_by,
    parse_authorization,
)
from service.emulator.config import IamUser
from service.emulator.tokens import claimed_user, open_token
from service.emulator.vendor_call import VendorCall

MAX_SKEW = timedelta(minutes=15)
MAX_FAILURES_IN_A_ROW = 5
LOCK_SECONDS = 300.0


class CallerKind(Enum):
    """How a caller proved who it is."""

    ACCESS_KEY = "access_key"
    TOKEN = "token"  # noqa: S105 - a kind of caller, not a secret
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An access key or an IAM user that may call."""

    name: str
    kind: CallerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAuthenticated:
    """Credentials refused; the detail is the gateway's text."""

    detail: str


class SignatureLocks:
    """Counts the failures in a row of each access key; times are monotonic seconds."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._locked_until: dict[str, float] = {}

    def is_locked(self, access_key: str, now: float) -> bool:
        """Tell whether every call of the key is refused at the moment."""
        return now < self._locked_until.get(access_key, now)

    def fail(self, access_key: str, now: float) -> None:
        """Count a failure; one more than the maximum locks the key and starts the count afresh."""
        failures = self._failures.get(access_key, 0) + 1
        self._failures[access_key] = failures
        if failures > MAX_FAILURES_IN_A_ROW:
            self._locked_until[access_key] = now + LOCK_SECONDS
            self._failures[access_key] = 0

    def succeed(self, access_key: str) -> None:
        """Forget the failures of a key."""
        self._failures.pop(access_key, None)


def claimed_caller(call: VendorCall) -> str | None:
    """Tell who a call says it comes from, unproven."""
    signature = parse_authorization(call.received.headers.get("Authorization", ""))
    if signature is not None:
        return signature.access_key
    token = call.received.headers.get("X-Auth-Token")
    return None if token is None else claimed_user(token)


def authenticate_token(text: str, users: tuple[IamUser, ...], *, now: float) -> Caller | NotAuthenticated:
    """Check a token against Unix time."""
    token = open_token(text, users)
    if token is None:
        return NotAuthenticated(detail="decrypt token fail")
    if now >= token.expires:
        expires_at = datetime.fromtimestamp(token.expires, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return NotAuthenticated(detail=f"token expires, expires_at:{expires_at}")
    return Caller(name=token.user, kind=CallerKind.TOKEN)


def is_signed(call: VendorCall) -> bool:
    """Tell whether a call carries a signature, right or wrong."""
    return call.received.headers.get("Authorization", "").startswith(ALGORITHM)


def authenticate_signature(
    call: VendorCall, access_keys: Mapping[str, str], *, locks: SignatureLocks
) -> Caller | NotAuthenticated:
    """Check a signature: lock, key, date, then the signature itself."""
    signature = parse_authorization(call.received.headers.get("Authorization", ""))
    if signature is None:
        return NotAuthenticated(detail="verify aksk signature fail, authorization format error")
    if locks.is_locked(signature.access_key, call.arrival.started):
        return NotAuthenticated(detail="AK access failed to reach the limit, forbidden")
    secret_key = access_keys.get(signature.access_key)
    if secret_key is None:
        return NotAuthenticated(detail=f"ak {signature.access_key} not exist")
    date = call.received.headers.get(DATE_HEADER, "")
    if not _is_fresh(date, call.arrival.at):
        return NotAuthenticated(detail=f"verify aksk signature fail, signature expired, x-sdk-date:{date}")
    return _check_signature(call, signature, secret_key=secret_key, locks=locks)


def _check_signature(
    call: VendorCall, signature: Signature, *, secret_key: str, locks: SignatureLocks
) -> Caller | NotAuthenticated:
    signable = _signable(call)
    if is_signed_by(signable, signature, secret_key):
        locks.succeed(signature.access_key)
        return Caller(name=signature.access_key, kind=CallerKind.ACCESS_KEY)
    locks.fail(signature.access_key, call.arrival.started)
    present = [name for name in signature.signed_headers if name in call.received.headers]
    canonical = canonical_request(signable, present).replace("\n", "|")
    return NotAuthenticated(detail=f"verify aksk signature fail,canonicalRequest:{canonical}")


def _signable(call: VendorCall) -> Signable:
    return Signable(
        method=call.received.method,
        path=call.path,
        query=call.query,
        headers=call.received.headers,
        body=call.received.body or b"",
    )


def _is_fresh(date: str, now: float) -> bool:
    try:
        signed_at = datetime.strptime(date, DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(datetime.fromtimestamp(now, tz=UTC) - signed_at) <= MAX_SKEW
