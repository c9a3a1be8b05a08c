"""Checks the signature of a call that came in, on the request as it was sent (SDK-HMAC-SHA256).

Takes nothing on trust that the signature does not cover: the date, the workspace and the body must be signed. The host
need not be: the vendor's SDK for Go leaves it out, and access keys are good at one service alone.
Source: Huawei Cloud, "API Request Signing Guide"; tests hold it against the vendor's vectors and its SDK.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_to_bytes

from service.core.signing import (
    ALGORITHM,
    DATE_FORMAT,
    Signable,
    Signature,
    parse_authorization,
    signature_of,
)

#: How far the date of a call may be from our clock, either way.
MAX_SKEW = timedelta(minutes=15)
_DATE_FORM = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_ALWAYS_SIGNED = ("x-sdk-date",)
#: What decides what a call does must be signed where it is there.
_SIGNED_IF_SENT = ("workspace",)
#: An access key that nobody has is compared with this, which takes as long.
_NOBODYS_SECRET = "n" * 43
_AUTHORIZATION = "authorization"
_DATE = "x-sdk-date"
_CONTENT_SHA256 = "x-sdk-content-sha256"

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedHead:
    """A request without its body; the target is as it stands in the request line, repeated headers are all there."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = field(repr=False)

    @property
    def path(self) -> str:
        """The path, still escaped."""
        return self.target.partition("?")[0]

    @property
    def raw_query(self) -> str:
        """The query, still escaped."""
        return self.target.partition("?")[2]

    def values_of(self, name: str) -> list[str]:
        """Return every value of a header, by its name in lower case."""
        return [value for given, value in self.headers if given.lower() == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a call says of itself: who signed it, and over what. Nothing of it is proven."""

    head: ReceivedHead
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrusted:
    """A call whose signature proves nothing, and why; the words are for its caller."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """A call that its access key signed, with the query as the signer meant it."""

    access_key: str
    signature: bytes
    query: Pairs


def is_signed(head: ReceivedHead) -> bool:
    """Tell whether a call carries a signature, right or wrong."""
    return any(value.lstrip().startswith(ALGORITHM) for value in head.values_of(_AUTHORIZATION))


def read_claim(head: ReceivedHead, *, now: datetime) -> Claim | Untrusted:
    """Read what a call says of itself, before its body is there; no secret is needed to refuse what is wrong here."""
    authorizations, dates = head.values_of(_AUTHORIZATION), head.values_of(_DATE)
    signature = parse_authorization(authorizations[0]) if len(authorizations) == 1 else None
    if signature is None:
        return _failed("expected Authorization: SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…, once")
    if len(dates) != 1 or not _is_fresh(dates[0].strip(), now):
        return _failed(
            f"expected X-Sdk-Date within 15 minutes of {now.astimezone(UTC).strftime(DATE_FORMAT)}, once"
        )
    return _check_coverage(head, signature) or Claim(head=head, signature=signature)


def verify(claim: Claim, body: bytes, secret_key: str | None) -> Trusted | Untrusted:
    """Compare the signature with the one that the secret makes; takes the same time where there is no secret."""
    if not _is_body_signed(claim.head, body):
        return _failed("expected a signed body; its hash in X-Sdk-Content-Sha256 is another")
    trusted: Trusted | None = None
    for unescape in _readings_of(claim.head.raw_query):
        query = _pairs(claim.head.raw_query, unescape)
        expected = _expected(claim, query, body, secret_key or _NOBODYS_SECRET)
        if hmac.compare_digest(expected, claim.signature.signature):
            trusted = Trusted(
                access_key=claim.signature.access_key,
                signature=bytes.fromhex(claim.signature.signature),
                query=query,
            )
    if trusted is None or secret_key is None:
        return _failed("expected the signature of this very request, host and path as they were received")
    return trusted


def read_query(head: ReceivedHead) -> Pairs | None:
    """Read the query of a call that is not signed, as forms are read: a plus sign is a space; None if not UTF-8."""
    return _pairs(head.raw_query, _unescape_form) if _is_utf_8(head.target) else None


def _failed(detail: str) -> Untrusted:
    return Untrusted(detail=f"verify aksk signature fail, {detail}")


def _is_fresh(date: str, now: datetime) -> bool:
    if _DATE_FORM.fullmatch(date) is None:
        return False
    try:
        signed_at = datetime.strptime(date, DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(now - signed_at) <= MAX_SKEW


def _check_coverage(head: ReceivedHead, signature: Signature) -> Untrusted | None:
    signed = signature.signed_headers
    sent = {name.lower() for name, _ in head.headers}
    unsigned = [name for name in _ALWAYS_SIGNED if name not in signed]
    unsigned += [name for name in _SIGNED_IF_SENT if name in sent and name not in signed]
    if unsigned:
        return _failed(f"expected {unsigned[0]} among the signed headers")
    if len(set(signed)) < len(signed) or any(len(head.values_of(name)) != 1 for name in signed):
        return _failed("expected each signed header once")
    if not head.path.startswith("/") or not _is_utf_8(head.target):
        return _failed("expected a path and a query in UTF-8")
    return None


def _is_utf_8(target: str) -> bool:
    try:
        unquote_to_bytes(target.encode(errors="surrogateescape")).decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_body_signed(head: ReceivedHead, body: bytes) -> bool:
    """A body counts as signed by its own hash; UNSIGNED-PAYLOAD, which the vendor takes for files, is none."""
    named = head.values_of(_CONTENT_SHA256)
    return not body or all(value.strip() == hashlib.sha256(body).hexdigest() for value in named)


def _readings_of(raw_query: str) -> tuple[Callable[[str], str], ...]:
    """Some SDKs send a space as a plus sign, and sign it as a space; for the others a plus sign is one."""
    return (_unescape, _unescape_form) if "+" in raw_query else (_unescape,)


def _pairs(raw_query: str, unescape: Callable[[str], str]) -> Pairs:
    pairs = [pair.partition("=") for pair in raw_query.split("&") if pair]
    return tuple((unescape(name), unescape(value)) for name, _, value in pairs)


def _unescape(text: str) -> str:
    return unquote_to_bytes(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")


def _unescape_form(text: str) -> str:
    return _unescape(text.replace("+", " "))


def _expected(claim: Claim, query: Pairs, body: bytes, secret_key: str) -> str:
    signable = Signable(
        method=claim.head.method,
        path=claim.head.path,
        query=query,
        headers=dict(claim.head.headers),
        body=body,
    )
    return signature_of(signable, claim.signature.signed_headers, secret_key)
