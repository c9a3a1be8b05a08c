"""A TCP server that does exactly what a test scripts, below the level of HTTP."""

import asyncio
import itertools
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LINGER_OFF = struct.pack("ii", 1, 0)


class RawConnection:
    """One accepted connection: everything that came in on it, and ways to treat the caller badly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received = b""
        self.has_ended = asyncio.Event()

    async def request(self) -> bytes:
        """Read one request, head and body."""
        head = await self._note(self._reader.readuntil(b"\r\n\r\n"))
        length = _CONTENT_LENGTH.search(head)
        return head + await self._note(self._reader.readexactly(int(length[1]) if length else 0))

    async def rest(self) -> bytes:
        """Read until the caller closes."""
        return await self._note(self._reader.read())

    async def say(self, data: bytes) -> None:
        """Write bytes and hand them to the kernel."""
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        """Close with a TCP reset."""
        if not self._writer.is_closing():
            sock: socket.socket = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
            self._writer.transport.abort()

    def close(self) -> None:
        """Close in order."""
        self._writer.close()

    async def _note(self, reading: Awaitable[bytes]) -> bytes:
        data = await reading
        self.received += data
        return data


Script = Callable[[RawConnection], Awaitable[None]]


class RawServer:
    """The server's address and the connections that it saw."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.port = 0
        self.scheme = "http"
        self.connections: list[RawConnection] = []
        self._playing: list[asyncio.Future[None]] = []

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def received(self) -> bytes:
        """Everything that came in on all connections."""
        return b"".join(connection.received for connection in self.connections)

    async def all_ended(self) -> None:
        """Wait until every connection that was seen is over."""
        async with asyncio.timeout(5):
            for connection in list(self.connections):
                await connection.has_ended.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play the script on one connection."""
        connection = RawConnection(reader, writer)
        self.connections.append(connection)
        playing = asyncio.ensure_future(self._play(connection))
        self._playing.append(playing)
        await asyncio.wait([playing])
        writer.close()
        connection.has_ended.set()

    async def stop(self) -> None:
        """End every script and every connection."""
        for playing in self._playing:
            playing.cancel()
        for connection in self.connections:
            connection.reset()
        await self.all_ended()

    async def _play(self, connection: RawConnection) -> None:
        try:
            await self._script(connection)
        except ConnectionError:
            pass
        except asyncio.IncompleteReadError as error:
            connection.received += error.partial


@asynccontextmanager
async def raw_server(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Serve a script on a free port of 127.0.0.1."""
    server = RawServer(script)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    server.scheme = "http" if tls is None else "https"
    async with listener:
        try:
            yield server
        finally:
            await server.stop()


def http_answer(status: int, body: bytes, **headers: str) -> bytes:
    """Write a whole HTTP answer; underscores in names stand for hyphens."""
    named = {"content_length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    return "\r\n".join([f"HTTP/1.1 {status} Scripted", *lines, "", ""]).encode() + body


def created(package_id: object = "13") -> bytes:
    """Write the vendor's answer to a create."""
    return http_answer(200, orjson.dumps({"package_name": "batch_1", "release_package_id": package_id}))


def always(answer: bytes) -> Script:
    """Answer every request with the same bytes and keep the connection."""

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.request()
            await connection.say(answer)

    return script


def in_turn(*answers: bytes) -> Script:
    """Answer request after request with the next of the answers, over all connections; the last one for ever."""
    left = itertools.chain(answers, itertools.repeat(answers[-1]))

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.request()
            await connection.say(next(left))

    return script


async def read_all(connection: RawConnection) -> None:
    """Take everything and say nothing."""
    await connection.rest()


async def silence(connection: RawConnection) -> None:
    """Take one request and say nothing."""
    await connection.request()
    await connection.rest()
