"""Signatures of calls that come in: the vendor's are taken, and nothing is taken that was changed on its way."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import assume, given
from hypothesis import strategies as st

from service.core import verifying
from service.core.signing import DATE_FORMAT, format_date
from service.core.verifying import MAX_SKEW, ReceivedHead, Trusted, Untrusted, is_signed, read_claim, verify

RAW_VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "sign_vectors.json").read_text()
)["vectors"][5]
NOW = datetime(2026, 5, 13, 3, 21, tzinfo=UTC)
SECRET = "s3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3t"
ACCESS_KEY = "REL00000000000000001"
PATH = "/v2/p1/factory/pending-items/package"
BODY = b'{"apply_user_id": "u", "package_name": "n", "pending_item_list": ["26"], "approver_ids": ["a"]}'

awkward = st.text(alphabet="a Z~/+%&=?#*'()!ü张🎉.-_", max_size=12)
queries = st.lists(st.tuples(awkward, awkward), max_size=5)
bodies = st.just(b"") | st.just(BODY) | st.binary(min_size=1, max_size=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request on the wire."""

    head: ReceivedHead
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SdkKey:
    """The credentials in the form that the vendor's signer takes."""

    ak: str = ACCESS_KEY
    sk: str = SECRET


def sent_by_sdk(
    *,
    method: str = "POST",
    query: Sequence[tuple[str, str]] = (),
    body: bytes = BODY,
    at: datetime = NOW,
    secret: str = SECRET,
    **headers: str,
) -> Sent:
    """Sign a request with the vendor's own signer, and put it on the wire as its SDK does."""
    request = SdkRequest(
        method=method,
        schema="http",
        host="127.0.0.1:8080",
        resource_path=PATH,
        query_params=list(query),
        header_params={
            "Content-Type": "application/json;charset=utf-8",
            "workspace": "ws-1",
            "X-Sdk-Date": format_date(at),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        body=body,
    )
    signed = Signer(SdkKey(sk=secret)).sign(request)
    head = ReceivedHead(method=method, target=signed.uri, headers=tuple(signed.header_params.items()))
    return Sent(head=head, body=body)


def check(sent: Sent, *, secret: str | None = SECRET, now: datetime = NOW) -> Trusted | Untrusted:
    """Check a request as a door does."""
    claim = read_claim(sent.head, now=now)
    return claim if isinstance(claim, Untrusted) else verify(claim, sent.body, secret)


def with_headers(sent: Sent, *headers: tuple[str, str]) -> Sent:
    return replace(sent, head=replace(sent.head, headers=headers))


def test_the_bytes_of_the_vendors_sdk_are_trusted() -> None:
    """The raw request of the vendor's vectors is trusted with its secret at its time, and with nothing else."""
    head, _, body = RAW_VECTOR["raw_request"].partition("\r\n\r\n")
    line, *lines = head.split("\r\n")
    method, target, _ = line.split(" ")
    pairs = tuple((name, value) for name, _, value in (each.partition(": ") for each in lines))
    sent = Sent(head=ReceivedHead(method=method, target=target, headers=pairs), body=body.encode())
    date = dict(pairs)["X-Sdk-Date"]
    now = datetime.strptime(date, DATE_FORMAT).replace(tzinfo=UTC)
    trusted = check(sent, secret=RAW_VECTOR["secret_key"], now=now)

    assert is_signed(sent.head)
    assert isinstance(trusted, Trusted)
    assert (trusted.access_key, trusted.signature.hex()) == (
        RAW_VECTOR["access_key"],
        RAW_VECTOR["signature"],
    )
    assert isinstance(check(sent, secret=RAW_VECTOR["secret_key"] + "x", now=now), Untrusted)
    assert isinstance(check(sent, secret=None, now=now), Untrusted)


def test_nobodys_secret_opens_nothing() -> None:
    """A call that is signed with what unknown access keys are compared with is refused like any other."""
    sent = sent_by_sdk(secret=verifying._NOBODYS_SECRET)  # noqa: SLF001 - somebody may read the source

    assert isinstance(check(sent, secret=None), Untrusted)


@given(method=st.sampled_from(["GET", "POST"]), query=queries, body=bodies)
def test_what_the_vendors_signer_signs_is_trusted(
    method: str, query: list[tuple[str, str]], body: bytes
) -> None:
    """Any query and body that the vendor's signer signs is trusted, and the query comes out as it went in."""
    trusted = check(sent_by_sdk(method=method, query=query, body=body))

    assert isinstance(trusted, Trusted)
    assert sorted(trusted.query) == sorted(query)


@given(order=st.randoms(use_true_random=False), spaces=st.integers(min_value=0, max_value=3))
def test_order_case_and_white_space_of_headers_do_not_count(order: Any, spaces: int) -> None:  # noqa: ANN401 - a Random
    """Other clients write headers in another order, in other cases and with white space around the values."""
    sent = sent_by_sdk(X_Project_Id="p1", User_Agent="any")
    pad = " " * spaces
    headers = [
        (order.choice([name, name.upper(), name.lower()]), value if name == "Authorization" else pad + value)
        for name, value in sent.head.headers
    ]
    order.shuffle(headers)

    assert isinstance(check(with_headers(sent, *headers)), Trusted)


@given(query=queries)
def test_a_space_may_be_sent_as_a_plus_sign(query: list[tuple[str, str]]) -> None:
    """SDKs that write queries as forms do, and sign spaces as such, are understood; so is what they mean."""
    sent = sent_by_sdk(method="GET", query=query, body=b"")
    form = "&".join(f"{quote_plus(name, safe='~')}={quote_plus(value, safe='~')}" for name, value in query)
    trusted = check(replace(sent, head=replace(sent.head, target=f"{PATH}?{form}")))

    assert isinstance(trusted, Trusted)
    assert sorted(trusted.query) == sorted(query)


SIGNED_PARTS = ("method", "path", "query", "header", "date", "body", "signature")


@given(part=st.sampled_from(SIGNED_PARTS), position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_is_refused(part: str, position: int, bit: int) -> None:
    """Whatever bit of a signed part is flipped, the call is refused, unless it says the same in another spelling."""
    sent = sent_by_sdk(query=[("limit", "10"), ("item_name", "a b/ü")])
    flipped = flip(sent, part, position, bit)
    assume(flipped != sent and spelling(flipped) != spelling(sent))

    assert isinstance(check(flipped), Untrusted)


def flip(sent: Sent, part: str, position: int, bit: int) -> Sent:
    """Flip a bit of a part; characters that no HTTP parser lets through are let be."""
    head = sent.head
    match part:
        case "method":
            return replace(sent, head=replace(head, method=flipped_text(head.method, position, bit)))
        case "path":
            path = "/" + flipped_text(head.path[1:], position, bit)
            return replace(sent, head=replace(head, target=f"{path}?{head.raw_query}"))
        case "query":
            query = flipped_text(head.raw_query, position, bit)
            return replace(sent, head=replace(head, target=f"{head.path}?{query}"))
        case "body":
            body = bytearray(sent.body)
            body[position % len(body)] ^= 1 << bit
            return replace(sent, body=bytes(body))
        case _:
            return with_headers(sent, *flipped_headers(head, part, position, bit))


def flipped_headers(head: ReceivedHead, part: str, position: int, bit: int) -> list[tuple[str, str]]:
    name = {"header": "workspace", "date": "X-Sdk-Date"}.get(part, "Authorization")
    pattern = "[0-9a-f]{64}" if part == "signature" else ".+"
    value = dict(head.headers)[name]
    found = re.search(pattern, value)
    assert found is not None
    changed = value[: found.start()] + flipped_text(found[0], position, bit) + value[found.end() :]
    return [(given, changed if given == name else kept) for given, kept in head.headers]


def flipped_text(text: str, position: int, bit: int) -> str:
    index = position % len(text)
    flipped = chr(ord(text[index]) ^ (1 << bit))
    return text[:index] + flipped + text[index + 1 :] if "!" <= flipped <= "~" else text


def spelling(sent: Sent) -> tuple[object, ...]:
    """What a request says: equal for two spellings of the same."""
    query = sorted(pair for pair in re.sub("%[0-9A-Fa-f]{2}", upper, sent.head.raw_query).split("&") if pair)
    path = re.sub("%[0-9A-Fa-f]{2}", upper, sent.head.path)
    return (sent.head.method.upper(), path, query, dict(sent.head.headers).items(), sent.body)


def upper(escape: re.Match[str]) -> str:
    return escape[0].upper()


@pytest.mark.parametrize("seconds", [-901, 901, -86_400, 86_400])
def test_a_call_of_another_time_is_refused(seconds: int) -> None:
    """A date more than 15 minutes from our clock, either way, is refused."""
    sent = sent_by_sdk(at=NOW + timedelta(seconds=seconds))
    untrusted = check(sent)

    assert isinstance(untrusted, Untrusted)
    assert "X-Sdk-Date within 15 minutes of 20260513T032100Z" in untrusted.detail


@pytest.mark.parametrize("seconds", [-900, 900, 0])
def test_a_call_of_the_window_is_taken(seconds: int) -> None:
    """Fifteen minutes either way are within the window."""
    assert timedelta(minutes=15) == MAX_SKEW
    assert isinstance(check(sent_by_sdk(at=NOW + timedelta(seconds=seconds))), Trusted)


@pytest.mark.parametrize("date", ["", "now", "2026513T032100Z", "20260513T032100", "20261332T032100Z"])
def test_a_date_of_another_form_is_refused(date: str) -> None:
    """Nothing but the vendor's form of a date is read."""
    sent = sent_by_sdk()
    headers = [(name, date if name == "X-Sdk-Date" else value) for name, value in sent.head.headers]

    assert isinstance(check(with_headers(sent, *headers)), Untrusted)


@pytest.mark.parametrize("left_out", ["x-sdk-date", "workspace"])
def test_what_matters_must_be_signed(left_out: str) -> None:
    """A call whose date or workspace is not signed is refused, however good its signature."""
    sent = sent_with(signed=[name for name in ("host", "workspace", "x-sdk-date") if name != left_out])
    untrusted = check(sent)

    assert isinstance(untrusted, Untrusted)
    assert f"expected {left_out} among the signed headers" in untrusted.detail


def test_other_headers_need_not_be_signed() -> None:
    """Date and workspace are enough, as for the SDK for Go, and headers that are added on the way do no harm."""
    sent = sent_with(signed=["workspace", "x-sdk-date"])
    added = with_headers(sent, *sent.head.headers, ("X-Forwarded-For", "10.0.0.1"), ("X_Odd", "1"))

    assert isinstance(check(added), Trusted)


@pytest.mark.parametrize("name", ["workspace", "X-Sdk-Date", "Host", "Authorization"])
def test_a_repeated_header_is_refused(name: str) -> None:
    """Of two values of a signed header nobody can say which one was signed."""
    sent = sent_by_sdk()
    twice = with_headers(sent, *sent.head.headers, (name.lower(), dict(sent.head.headers)[name]))

    assert isinstance(check(twice), Untrusted)


def test_a_body_that_is_not_signed_is_refused() -> None:
    """UNSIGNED-PAYLOAD, which the vendor takes for files, signs no body here."""
    sent = sent_by_sdk(Content_Type="text/plain")
    untrusted = check(sent)

    assert dict(sent.head.headers)["X-Sdk-Content-Sha256"] == "UNSIGNED-PAYLOAD"
    assert isinstance(untrusted, Untrusted)
    assert "expected a signed body" in untrusted.detail
    assert isinstance(check(sent_by_sdk(Content_Type="text/plain", body=b"")), Trusted)


@pytest.mark.parametrize("target", ["http://127.0.0.1:8080" + PATH, "*", "", PATH + "?a=%ff", "/%c3"])
def test_a_target_that_can_be_read_in_two_ways_is_refused(target: str) -> None:
    """An absolute target and text that is not UTF-8 are no part of the vendor's API."""
    sent = sent_by_sdk()

    assert isinstance(check(replace(sent, head=replace(sent.head, target=target))), Untrusted)


@pytest.mark.parametrize("value", ["", "SDK-HMAC-SHA256", "SDK-HMAC-SHA256 Access=a", "Bearer x"])
def test_a_malformed_authorization_is_refused(value: str) -> None:
    """A header of another form proves nothing."""
    sent = sent_by_sdk()
    headers = [(name, value if name == "Authorization" else kept) for name, kept in sent.head.headers]

    assert isinstance(check(with_headers(sent, *headers)), Untrusted)
    assert is_signed(with_headers(sent, *headers).head) == value.startswith("SDK-HMAC-SHA256")


def sent_with(*, signed: Sequence[str]) -> Sent:
    """Sign only some headers, and send others besides."""
    headers = {"host": "127.0.0.1:8080", "workspace": "ws-1", "x-sdk-date": format_date(NOW)}
    request = SdkRequest(
        method="GET",
        schema="http",
        host=headers["host"],
        resource_path=PATH,
        query_params=[],
        header_params={name: headers[name] for name in signed} | {"Host": headers["host"]},
        body=b"",
    )
    signer = Signer(SdkKey())
    request.header_params["X-Sdk-Date"] = headers["x-sdk-date"]
    canonical = signer._process_canonical_request(request, sorted(signed))  # noqa: SLF001 - signs less than it wants to
    to_sign = signer._process_string_to_sign(canonical, NOW)  # noqa: SLF001 - the same
    signature = signer._sign_string_to_sign(to_sign, SECRET)  # noqa: SLF001 - the same
    authorization = signer._process_auth_header_value(signature, ACCESS_KEY, sorted(signed))  # noqa: SLF001 - the same
    pairs = (*headers.items(), ("Authorization", authorization))
    return Sent(head=ReceivedHead(method="GET", target=quote(PATH), headers=pairs), body=b"")
