"""What goes on the wire for a create, and what comes of it."""

from datetime import UTC, datetime
from email.utils import format_datetime

import orjson
import pytest

from service.core.outcomes import Rejected, Released
from service.core.signing import AccessKey, Signable, is_signed_by, parse_authorization
from service.gateways.vendor.client import VendorClient
from tests.gateways.vendor.calling import create, taken_apart
from tests.gateways.vendor.raw_server import (
    always,
    created,
    http_answer,
    raw_server,
)
from tests.gateways.vendor.samples import KEY, PROJECT, WORKSPACE, batch, config, in_a_minute

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_the_bytes_are_the_vendors(caplog: pytest.LogCaptureFixture) -> None:
    """The request has the vendor's path, headers and body; the secret is nowhere."""
    async with raw_server(always(created())) as server:
        await create(server, traceparent=TRACEPARENT)

    line, headers, body = taken_apart(server.received)
    assert line == f"POST /v2/{PROJECT}/factory/pending-items/package HTTP/1.1"
    assert headers["workspace"] == WORKSPACE
    assert headers["x-project-id"] == PROJECT
    assert headers["content-type"] == "application/json;charset=utf-8"
    assert headers["traceparent"] == TRACEPARENT
    assert headers["accept-encoding"] == "identity"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["user-agent"].startswith("batch-release/")
    assert orjson.loads(body) == {
        "apply_user_id": "f" * 32,
        "package_name": "batch_1",
        "pending_item_list": ["26", "27"],
        "approver_ids": ["a" * 32, "b" * 32],
    }
    assert KEY.secret_key.encode() not in server.received
    assert KEY.secret_key not in caplog.text


@pytest.mark.parametrize(
    "key",
    [KEY, AccessKey(access_key="AK2", secret_key="s", security_token="a-token")],
    ids=["plain", "temporary"],
)
@pytest.mark.parametrize("project_id", [PROJECT, "p %/ü~"], ids=["plain", "awkward"])
async def test_the_signature_fits_what_was_sent(key: AccessKey, project_id: str) -> None:
    """A gateway that reads the raw bytes finds them signed: path, body and every header of ours."""
    async with raw_server(always(created())) as server:
        await create(server, auth=key, traceparent=TRACEPARENT, project_id=project_id)

    line, headers, body = taken_apart(server.received)
    signature = parse_authorization(headers["authorization"])
    assert signature is not None
    ours = {"host", "user-agent", "content-type", "workspace", "x-project-id", "x-sdk-date", "traceparent"}
    assert ours <= set(signature.signed_headers)
    assert (key.security_token is not None) == ("x-security-token" in signature.signed_headers)
    path = line.split(" ")[1]
    signed = Signable(method="POST", path=path, query=[], headers=headers, body=body)
    assert is_signed_by(signed, signature, key.secret_key)
    tampered = Signable(method="POST", path=path, query=[], headers=headers, body=body + b" ")
    assert not is_signed_by(tampered, signature, key.secret_key)


async def test_no_credentials_no_proof() -> None:
    """Without credentials nothing claims to be signed."""
    async with raw_server(always(created())) as server:
        await create(server, auth=None)

    _, headers, _ = taken_apart(server.received)
    assert not headers.keys() & {"authorization", "x-sdk-date", "x-auth-token"}


async def test_a_package_is_reported_with_its_moment_and_skew() -> None:
    """A release carries the package id, when the request was written, and how far the clocks are apart."""
    date = format_datetime(datetime.now(UTC).replace(year=2027), usegmt=True)
    body = b'{"release_package_id": 13}'
    async with raw_server(always(http_answer(200, body, date=date, x_request_id="r1"))) as server:
        before = datetime.now(UTC)
        report = await create(server)

    assert report.outcome == Released(release_package_id="13", request_id="r1")
    assert report.sent_at is not None
    assert before <= report.sent_at <= datetime.now(UTC)
    assert report.clock_skew_seconds is not None
    assert abs(report.clock_skew_seconds - 365 * 86400) < 5


async def test_a_refusal_is_reported() -> None:
    """The vendor's 400 comes back as its refusal in its words."""
    body = b'{"error_code": "DLF.3051", "error_msg": "The request parameter is invalid."}'
    async with raw_server(always(http_answer(400, body))) as server:
        report = await create(server)

    assert isinstance(report.outcome, Rejected)
    assert report.outcome.error.error_code == "DLF.3051"


async def test_each_create_has_a_connection_of_its_own() -> None:
    """A connection serves one create, so nothing of one call can touch the next."""
    async with raw_server(always(created())) as server, VendorClient(config(server.url)) as client:
        for _ in range(3):
            await client.create_package(batch(), deadline=in_a_minute())

    assert len(server.connections) == 3


async def test_closing_twice_is_harmless() -> None:
    """A client can be left twice; after that it refuses to send."""
    client = VendorClient(config("http://127.0.0.1:1"))
    async with client:
        pass
    await client.__aexit__(None, None, None)

    with pytest.raises(RuntimeError):
        await client.create_package(batch(), deadline=in_a_minute())
