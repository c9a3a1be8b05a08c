"""What comes back from one HTTP call: an answer, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer as it came.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case; of a repeated header the first value.
        body: The bytes as sent, without decompression.
        is_truncated: The body broke off, or was longer than we read.
        received_at: Our clock, UTC, when the last byte was read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    is_truncated: bool
    received_at: datetime


class NoAnswerReason(StrEnum):
    """Why no answer came."""

    #: No connection: refused, name not found, TLS refused, proxy refused, connect timeout.
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    #: The connection broke, or what came was not HTTP.
    CONNECTION_LOST = "connection_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """The call ended without an answer; ``detail`` is the error's own text."""

    reason: NoAnswerReason
    detail: str


def clock_skew_of(answer: Answer) -> float | None:
    """Return the vendor's clock minus ours in seconds, or None where the answer has no readable ``Date``."""
    date = parse_http_date(answer.headers.get("date", ""))
    return None if date is None else (date - answer.received_at).total_seconds()


def parse_http_date(text: str) -> datetime | None:
    """Read an HTTP date (RFC 9110, 5.6.7) as UTC; None for anything else."""
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
