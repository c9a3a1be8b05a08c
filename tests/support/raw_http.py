"""HTTP as bytes: what no client library would send, and answers as they came."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """One answer off the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> Any:  # noqa: ANN401 - any JSON
        """The problem that the answer must be, with all that the contract wants of it."""
        problem = json.loads(self.body)
        assert self.headers["content-type"] == "application/problem+json"
        assert self.headers["x-request-id"] == problem["request_id"]
        assert self.headers["x-content-type-options"] == "nosniff"
        assert self.headers["cache-control"] == "no-store"
        assert problem["status"] == self.status
        assert problem["type"] == f"/problems/{problem['code']}"
        assert problem["title"]
        assert problem["detail"]
        assert problem["instance"].startswith("/")
        return problem


def port_of(url: str) -> int:
    """Return the port of a base URL."""
    return int(url.rpartition(":")[2])


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Pair]:
    """Lend a connection to the loopback address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def exchange(port: int, *parts: bytes, within: float = 15.0) -> bytes:
    """Send bytes as they are, and return all that comes back until the end of the connection."""
    async with connected(port) as (reader, writer):
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        return await read_to_end(reader, within=within)


async def read_to_end(reader: asyncio.StreamReader, *, within: float = 15.0) -> bytes:
    """Return what comes until the end of a connection, however it ends."""
    received = bytearray()
    with suppress(ConnectionError):
        async with asyncio.timeout(within):
            while chunk := await reader.read(65_536):
                received += chunk
    return bytes(received)


async def read_answer(reader: asyncio.StreamReader, *, within: float = 15.0) -> RawAnswer:
    """Return the next answer, of a connection that may stay open."""
    async with asyncio.timeout(within):
        head = await reader.readuntil(b"\r\n\r\n")
        status, headers = _read_head(head)
        return RawAnswer(
            status=status,
            headers=headers,
            body=await reader.readexactly(int(headers.get("content-length", 0))),
        )


def first_answer(received: bytes) -> RawAnswer:
    """Read the first answer of what was received."""
    head, _, rest = received.partition(b"\r\n\r\n")
    status, headers = _read_head(head)
    return RawAnswer(status=status, headers=headers, body=rest[: int(headers.get("content-length", 0))])


def _read_head(head: bytes) -> tuple[int, Mapping[str, str]]:
    status_line, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status_line.split(" ")[1]), headers
