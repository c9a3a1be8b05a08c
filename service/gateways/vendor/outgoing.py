"""Turns a call into the request that goes on the wire: address, headers and signature."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from yarl import URL

from service.core.signing import DATE_HEADER, AccessKey, Signable, canonical_query, format_date, sign
from service.gateways.vendor.calls import VendorCall

CONTENT_TYPE = "application/json;charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRequest:
    """A request ready to be written; nothing in it is encoded or added to later."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends: the vendor's base URL and our ``User-Agent``."""

    base_url: URL
    user_agent: str


def outgoing_request(call: VendorCall, sender: Sender, *, auth: Mapping[str, str]) -> OutgoingRequest:
    """Complete a call with its address and its headers; ``auth`` are the headers that prove who we are."""
    return OutgoingRequest(
        method=call.method,
        url=_url_of(call, sender),
        headers={**common_headers(call, sender), **auth},
        body=call.body,
        max_bytes=call.max_bytes,
    )


def signature_headers(call: VendorCall, sender: Sender, *, key: AccessKey, at: datetime) -> dict[str, str]:
    """Return the date, the token of a temporary key and the signature over them and ``common_headers``."""
    proof = {DATE_HEADER: format_date(at)}
    if key.security_token is not None:
        proof["X-Security-Token"] = key.security_token
    signable = Signable(
        method=call.method,
        path=_path_of(call, sender),
        query=call.query,
        headers={**common_headers(call, sender), **proof},
        body=call.body,
    )
    return {**proof, "Authorization": sign(signable, key)}


def common_headers(call: VendorCall, sender: Sender) -> dict[str, str]:
    """Return the headers that every call carries and every signature covers.

    ``Accept`` and ``Accept-Encoding`` are left to the connection, as in the vendor's SDK: what stands
    between may rewrite them, and five wrong signatures in a row lock the key.
    """
    headers = {
        "Host": sender.base_url.host_port_subcomponent or "",
        "User-Agent": sender.user_agent,
        "Content-Type": CONTENT_TYPE,
        "workspace": call.workspace,
        "X-Project-Id": call.project_id,
    }
    if call.traceparent is not None:
        headers["traceparent"] = call.traceparent
    return headers


def _path_of(call: VendorCall, sender: Sender) -> str:
    return sender.base_url.raw_path.rstrip("/") + call.path


def _url_of(call: VendorCall, sender: Sender) -> URL:
    query = f"?{canonical_query(call.query)}" if call.query else ""
    return URL(f"{sender.base_url.origin()}{_path_of(call, sender)}{query}", encoded=True)
