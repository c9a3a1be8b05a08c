"""Our signatures against the vendor's: its vectors, and its own signer on any request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given
from hypothesis import strategies as st

from service.core.signing import (
    AccessKey,
    Signable,
    Signature,
    canonical_request,
    is_signed_by,
    parse_authorization,
    sign,
    signature_of,
)

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "sign_vectors.json").read_text()
)["vectors"]
RAW_VECTOR = VECTORS[5]

DATE = "20260513T032100Z"
KEY = AccessKey(access_key="HPUA0000000000000001", secret_key="s3cr3t/s3cr3t+s3cr3t=")

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20)
awkward = st.text(alphabet="a Z~/+%&=?#*'()!ü张🎉.-_", max_size=12)
names = st.text(alphabet="abcxyzABC-", min_size=1, max_size=8).map(lambda name: f"x{name}")
queries = st.lists(st.tuples(awkward | texts, awkward | texts), max_size=6)
repeated = st.tuples(st.just("label"), st.lists(awkward, min_size=2, max_size=4))
escapes = st.sampled_from(["%20", "%2F", "%2f", "%C3%BC", "%25", "%", "a", "~", " ", "+", "ü"])
segments = st.lists(escapes | awkward, max_size=4).map("".join)
paths = st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts))
types = st.sampled_from(
    ["application/json", "application/json;charset=utf-8", "application/bson", "text/plain"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SdkKey:
    """The credentials in the form that the vendor's signer takes."""

    ak: str = KEY.access_key
    sk: str = KEY.secret_key


@st.composite
def signables(draw: st.DrawFn) -> Signable:
    """Any request that a client of the vendor may want signed."""
    label, values = draw(repeated)
    query = [*draw(queries), *((label, value) for value in draw(st.sampled_from([values, []])))]
    extra = draw(st.dictionaries(names, texts, max_size=4))
    headers = {name.lower(): value for name, value in extra.items()}
    content_type = draw(st.none() | types)
    if content_type is not None:
        headers["Content-Type"] = content_type
    if content_type == "text/plain":
        headers["X-Sdk-Content-Sha256"] = "UNSIGNED-PAYLOAD"
    return Signable(
        method=draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "post"])),
        path=draw(paths),
        query=query,
        headers={**headers, "Host": "127.0.0.1:8080", "X-Sdk-Date": DATE, "X_Unsigned": "any"},
        body=draw(st.just(b"") | st.binary(min_size=1, max_size=50)),
    )


@pytest.mark.parametrize("vector", VECTORS[:5], ids=lambda vector: vector["name"])
def test_signs_the_vendors_vectors(vector: dict[str, Any]) -> None:
    """Each published vector gets the published canonical request and signature."""
    signable = signable_of(vector)
    key = AccessKey(access_key=vector["access_key"], secret_key=vector["secret_key"])
    authorization = sign(signable, key)
    signature = parse_authorization(authorization)

    assert signature is not None
    assert vector["canonical_request"] == canonical_request(signable, signature.signed_headers)
    assert vector["authorization"] == authorization


def test_accepts_the_bytes_that_the_vendors_sdk_sent() -> None:
    """A raw request of the SDK is accepted with its secret, and with no other secret or body."""
    signable = read_raw_request(RAW_VECTOR["raw_request"])
    signature = parse_authorization(signable.headers["Authorization"])
    secret = RAW_VECTOR["secret_key"]

    assert signature is not None
    assert RAW_VECTOR["signature"] == signature.signature
    assert is_signed_by(signable, signature, secret)
    assert not is_signed_by(signable, signature, secret + "x")
    assert not is_signed_by(replace(signable, body=signable.body + b" "), signature, secret)


@given(signable=signables())
def test_signs_as_the_vendors_sdk(signable: Signable) -> None:
    """Any request gets the ``Authorization`` that the vendor's own signer gives it."""
    assert vendors_authorization(signable) == sign(signable, KEY)


@given(signable=signables(), change=st.sampled_from(["method", "path", "query", "header", "date", "body"]))
def test_refuses_a_changed_request(signable: Signable, change: str) -> None:
    """A signature is good for its own request, and for none that differs in a signed part."""
    signature = parse_authorization(sign(signable, KEY))

    assert signature is not None
    assert is_signed_by(signable, signature, KEY.secret_key)
    covers_body = "X-Sdk-Content-Sha256" not in signable.headers
    assert (change == "body" and not covers_body) or not is_signed_by(
        changed(signable, change), signature, KEY.secret_key
    )


def test_refuses_a_signature_that_leaves_out_the_date() -> None:
    """Without a signed date a request could be repeated for ever."""
    signable = Signable(method="GET", path="/", query=[], headers={"Host": "h", "X-Sdk-Date": DATE}, body=b"")
    without_date = Signature(
        access_key=KEY.access_key,
        signed_headers=("host",),
        signature=signature_of(signable, ["host"], KEY.secret_key),
    )

    assert not is_signed_by(signable, without_date, KEY.secret_key)


def test_an_unsigned_payload_is_refused_for_json() -> None:
    """Nobody can leave a JSON body out of the signature by asking for it."""
    headers = {
        "X-Sdk-Date": DATE,
        "Content-Type": "application/json",
        "X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD",
    }
    signable = Signable(method="POST", path="/", query=[], headers=headers, body=b"{}")
    signature = parse_authorization(vendors_authorization(signable))

    assert signature is not None
    assert not is_signed_by(signable, signature, KEY.secret_key)


def test_bytes_that_are_not_utf_8_are_only_a_wrong_signature() -> None:
    """A server that hands on such bytes as lone surrogates gets a refusal, not an exception."""
    broken = b"\xff\xfe".decode(errors="surrogateescape")
    signable = Signable(
        method="GET",
        path=f"/{broken}",
        query=[(broken, broken)],
        headers={"X-Sdk-Date": DATE, "x-broken": broken},
        body=b"",
    )
    signature = parse_authorization(sign(replace(signable, path="/"), KEY))

    assert signature is not None
    assert not is_signed_by(signable, signature, KEY.secret_key)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer x",
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=host",
        f"SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature={'g' * 64}",
        f"SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature={'a' * 63}",
    ],
)
def test_no_signature_is_read_out_of_anything_else(value: str) -> None:
    """A header of another form is no signature."""
    assert parse_authorization(value) is None


def signable_of(vector: Mapping[str, Any]) -> Signable:
    """Return the request of a vector as the signer wants it."""
    given_input = vector["input"]
    pairs: list[tuple[str, str]] = []
    for name, value in given_input["query"]:
        values = value if isinstance(value, list) else [value]
        pairs.extend((name, str(each).lower() if isinstance(each, bool) else str(each)) for each in values)
    headers = {**given_input["headers"], "Host": given_input["host"]}
    return Signable(
        method=given_input["method"],
        path=given_input["path"],
        query=pairs,
        headers=headers,
        body=(given_input["body"] or "").encode(),
    )


def read_raw_request(raw: str) -> Signable:
    """Take an HTTP/1.1 request apart as a server does."""
    head, _, body = raw.partition("\r\n\r\n")
    request_line, *lines = head.split("\r\n")
    method, target, _ = request_line.split(" ")
    path, _, query = target.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return Signable(
        method=method,
        path=path,
        query=[(unquote(name), unquote(value)) for name, _, value in pairs],
        headers=dict(line.split(": ", 1) for line in lines),
        body=body.encode(),
    )


def vendors_authorization(signable: Signable) -> str:
    """Sign with the vendor's own signer."""
    request = SdkRequest(
        method=signable.method,
        schema="http",
        host=signable.headers.get("Host", "h"),
        resource_path=signable.path,
        query_params=list(signable.query),
        header_params={"Host": "h", **signable.headers},
        body=signable.body,
    )
    signed = Signer(SdkKey()).sign(request)
    authorization: str = signed.header_params["Authorization"]
    return authorization


def changed(signable: Signable, change: str) -> Signable:
    """Return the request with one signed part changed."""
    match change:
        case "method":
            return replace(signable, method=signable.method + "X")
        case "path":
            return replace(signable, path=signable.path.rstrip("/") + "/other")
        case "query":
            return replace(signable, query=[*signable.query, ("added", "")])
        case "header":
            return replace(signable, headers={**signable.headers, "Host": "127.0.0.1:8081"})
        case "date":
            return replace(signable, headers={**signable.headers, "X-Sdk-Date": "20260513T032101Z"})
        case _:
            return replace(signable, body=signable.body + b"x")
