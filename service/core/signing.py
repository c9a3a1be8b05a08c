"""Signs and checks HTTP requests with an access key, as Huawei Cloud's gateway does (SDK-HMAC-SHA256).

Source: Huawei Cloud, "API Request Signing Guide"; tests hold it against the vendor's vectors and its SDK.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote

ALGORITHM = "SDK-HMAC-SHA256"
DATE_HEADER = "X-Sdk-Date"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_CONTENT_SHA256_HEADER = "x-sdk-content-sha256"
_UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=(?P<access>[^,\s]+), ?SignedHeaders=(?P<headers>[^,\s]+)"
    r", ?Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """An access key pair, with the token that temporary pairs carry."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The three parts of an ``Authorization`` header."""

    access_key: str
    signed_headers: tuple[str, ...]
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signable:
    """The parts of an HTTP request that a signature covers; the query is unescaped, the path is either."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


def format_date(at: datetime) -> str:
    """Write a moment as the ``X-Sdk-Date`` header wants it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime(DATE_FORMAT)


def sign(request: Signable, key: AccessKey) -> str:
    """Return the value of ``Authorization``; every header without an underscore in its name is signed.

    ``request.headers`` must hold ``X-Sdk-Date`` and ``Host``, and the security token of a temporary key.
    """
    names = sorted(name.lower() for name in request.headers if "_" not in name)
    value = signature_of(request, names, key.secret_key)
    return f"{ALGORITHM} Access={key.access_key}, SignedHeaders={';'.join(names)}, Signature={value}"


def parse_authorization(value: str) -> Signature | None:
    """Take an ``Authorization`` header apart, or return None where it is not of this algorithm."""
    match = _AUTHORIZATION.fullmatch(value.strip())
    if match is None:
        return None
    return Signature(
        access_key=match["access"],
        signed_headers=tuple(match["headers"].split(";")),
        signature=match["signature"],
    )


def is_signed_by(request: Signable, signature: Signature, secret_key: str) -> bool:
    """Tell whether the signature belongs to this request and secret; takes the same time either way."""
    lowered = {name.lower() for name in request.headers}
    if (
        not lowered.issuperset(signature.signed_headers)
        or DATE_HEADER.lower() not in signature.signed_headers
    ):
        return False
    expected = signature_of(request, signature.signed_headers, secret_key)
    return hmac.compare_digest(expected, signature.signature)


def signature_of(request: Signable, signed_headers: Iterable[str], secret_key: str) -> str:
    """Return the hex HMAC over the canonical request and the date."""
    lowered = {name.lower(): value for name, value in request.headers.items()}
    canonical = canonical_request(request, signed_headers)
    string_to_sign = f"{ALGORITHM}\n{lowered[DATE_HEADER.lower()].strip()}\n{_sha256(_encode(canonical))}"
    return hmac.new(secret_key.encode(), _encode(string_to_sign), hashlib.sha256).hexdigest()


def canonical_request(request: Signable, signed_headers: Iterable[str]) -> str:
    """Write the request in the one form that client and gateway both arrive at."""
    lowered = {name.lower(): value for name, value in request.headers.items()}
    names = sorted(signed_headers)
    return "\n".join(
        [
            request.method.upper(),
            _canonical_path(request.path),
            canonical_query(request.query),
            "".join(f"{name}:{lowered[name].strip()}\n" for name in names),
            ";".join(names),
            _payload_hash(lowered, request.body),
        ]
    )


def canonical_query(query: Sequence[tuple[str, str]]) -> str:
    """Sort and percent-encode the pairs of a query; the same text may be sent as the query itself."""
    return "&".join(f"{_escape(name)}={_escape(value)}" for name, value in sorted(query))


def _canonical_path(path: str) -> str:
    # The vendor unescapes before it splits: an escaped slash counts as a slash.
    joined = "/".join(_escape(segment) for segment in unquote(path).split("/"))
    return joined if joined.endswith("/") else joined + "/"


def _payload_hash(lowered: Mapping[str, str], body: bytes) -> str:
    content_type = lowered.get("content-type", "application/json").lower()
    is_unsigned = body and lowered.get(_CONTENT_SHA256_HEADER) == _UNSIGNED_PAYLOAD
    if is_unsigned and not content_type.startswith(("application/json", "application/bson")):
        return _UNSIGNED_PAYLOAD
    return _sha256(body)


def _escape(text: str) -> str:
    return quote(_encode(text), safe="~")


def _encode(text: str) -> bytes:
    # A server hands on bytes that are not UTF-8 as lone surrogates; they are signed as the bytes they were.
    return text.encode(errors="surrogateescape")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
