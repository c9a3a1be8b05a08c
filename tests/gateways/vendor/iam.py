"""IAM as a test scripts it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import orjson

from service.core.outcomes import NotSent
from service.gateways.vendor.client import VendorClient
from service.gateways.vendor.config import TokenCredentials
from service.gateways.vendor.exchange import Exchange
from service.gateways.vendor.iam import Token
from service.gateways.vendor.tokens import TokenSource
from tests.gateways.vendor.raw_server import (
    RawConnection,
    RawServer,
    Script,
    http_answer,
    raw_server,
)
from tests.gateways.vendor.samples import config

PASSWORD = "a-password"


DAY = timedelta(hours=24)


class Iam:
    """IAM as scripted: hands out numbered tokens of a chosen life, or refuses."""

    def __init__(self, *, life: timedelta = DAY) -> None:
        self.life = life
        self.refusal: bytes | None = None
        self.sold = 0
        self.bodies: list[dict[str, object]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def serve(self, connection: RawConnection) -> None:
        """Answer every request of a connection."""
        while True:
            request = await connection.request()
            self.bodies.append(orjson.loads(request.split(b"\r\n\r\n", 1)[1]))
            await self.may_answer.wait()
            await connection.say(self.refusal or self._sale())

    def _sale(self) -> bytes:
        self.sold += 1
        issued = datetime(2031, 1, 1, tzinfo=UTC)
        token = {"issued_at": iam_time(issued), "expires_at": iam_time(issued + self.life)}
        return http_answer(201, orjson.dumps({"token": token}), x_subject_token=f"token-{self.sold}")


def iam_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@asynccontextmanager
async def source_at(script: Script) -> AsyncIterator[TokenSource]:
    async with raw_server(script) as server, Exchange(config("http://127.0.0.1:1")) as exchange:
        source = TokenSource(exchange, credentials_at(server.url))
        yield source
        await source.close()


@asynccontextmanager
async def client_between(iam: Script, vendor: Script) -> AsyncIterator[tuple[VendorClient, RawServer]]:
    async with raw_server(iam) as iam_server, raw_server(vendor) as server:
        client = VendorClient(config(server.url, auth=credentials_at(iam_server.url)))
        async with client:
            yield client, server


def credentials_at(url: str) -> TokenCredentials:
    return TokenCredentials(iam_url=url, user="ann", password=PASSWORD, domain="acme")


def value_of(token: Token | NotSent) -> str:
    return token.value if isinstance(token, Token) else f"{token.cause}: {token.error.error_msg}"
