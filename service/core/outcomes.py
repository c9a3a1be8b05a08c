"""What a vendor call can come to: five outcomes, always matched exhaustively.

``Released`` and ``Rejected`` are certain. ``Throttled`` and ``NotSent`` mean that the vendor did nothing, so the
same call may be made again. ``InDoubt`` means that nobody knows; it is settled from the vendor's lists, never by
sending again. The rules come from the vendor's error tables (DataArts Studio API reference, "Error Codes", and API
Gateway, "Error Codes").
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorError:
    """The vendor's answer in its own words."""

    status: int | None
    error_code: str | None
    error_msg: str | None
    request_id: str | None


#: Where the vendor said nothing.
NO_WORDS = VendorError(status=None, error_code=None, error_msg=None, request_id=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The vendor made the package."""

    release_package_id: str
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The vendor refused, and will refuse the same call again."""

    error: VendorError
    #: Whether one of the items may be at fault, so that the others may be released without it.
    may_be_an_item: bool


class ThrottleScope(StrEnum):
    """Whose calls a 429 stops."""

    OPERATION = "operation"
    WORKSPACE = "workspace"
    #: The vendor did not say; at first the workspace of the call.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """The gateway refused before the vendor saw the call; nothing of the scope may be called before the time."""

    error: VendorError
    retry_after: timedelta | None
    scope: ThrottleScope


class NotSentCause(StrEnum):
    """Why a call certainly had no effect."""

    #: No connection: refused, name not found, TLS refused.
    UNREACHABLE = "unreachable"
    #: The gateway said that it did not pass the call on.
    UNAVAILABLE = "unavailable"
    #: Signature, key or permission refused. More of the same locks the key.
    AUTHENTICATION = "authentication"
    #: The token has expired or was revoked; a new one helps.
    TOKEN = "token"  # noqa: S105 - a cause, not a secret
    #: Too little of the lease was left when the request was to be written.
    LEASE_LOST = "lease_lost"
    #: The limiter did not let it be written: by a pause, a breaker, its own loss of memory, or too many just before.
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """The call certainly had no effect."""

    cause: NotSentCause
    error: VendorError


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt:
    """The call may have worked."""

    reason: str
    error: VendorError
    #: Whether we gave it up ourselves, so that it says nothing of how the vendor fares.
    is_cut_off: bool = False


Outcome = Released | Rejected | Throttled | NotSent | InDoubt


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """One vendor call as it happened: the outcome and when its request was written, if it was."""

    outcome: Outcome
    #: UTC; None when nothing was written to the socket.
    sent_at: datetime | None
    #: Seconds between the vendor's ``Date`` header and our clock, where the vendor sent one.
    clock_skew_seconds: float | None = None
