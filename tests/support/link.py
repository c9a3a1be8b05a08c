"""A byte-wise proxy in front of a server, which misbehaves as networks do.

It listens on a unix socket or a loopback port, and passes on to one of either kind.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

#: A unix socket, or a port of 127.0.0.1.
Address = Path | int

_CHUNK = 65536
_DRIP_BYTES = 64


class Mode(StrEnum):
    """What happens to connections and bytes."""

    PASS = "pass"
    #: New connections are cut at once, and so were the old ones.
    REFUSE = "refuse"
    #: Bytes vanish in both directions; the connections are cut when the mode ends.
    BLACKHOLE = "blackhole"
    #: Bytes come late in both directions, also those of a sender who has gone meanwhile.
    DELAY = "delay"
    #: Answers come in small pieces.
    DRIP = "drip"
    #: Half of the next answer comes, then the connection is cut.
    HALF = "half"
    #: The request arrives, its answer does not: the connection is cut.
    SWALLOW = "swallow"


@dataclass(slots=True, kw_only=True)
class Passage:
    """A connection that carried what is watched for; Unix seconds, ``ended`` is None while it lives."""

    began: float
    ended: float | None = None


class Link:
    """Passes connections on from ``listens_at`` to ``upstream``; port 0 listens on a free one."""

    def __init__(self, upstream: Address, *, listens_at: Address, watches_for: bytes | None = None) -> None:
        self.mode = Mode.PASS
        self.delay_seconds = 0.2
        #: The connections that carried the watched bytes in the first chunk of a request.
        self.passages: list[Passage] = []
        self.watches_for = watches_for
        self._upstream = upstream
        self._listens_at = listens_at
        self._connections: dict[_Connection, asyncio.Task[None]] = {}

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert isinstance(self._listens_at, int)
        return self._listens_at

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen; at the end every connection is cut."""
        if isinstance(self._listens_at, Path):
            server = await asyncio.start_unix_server(self._serve, self._listens_at)
        else:
            server = await asyncio.start_server(self._serve, "127.0.0.1", self._listens_at)
            self._listens_at = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.reset()
            await asyncio.gather(*self._connections.values())

    def reset(self) -> None:
        """Cut every connection."""
        for connection in tuple(self._connections):
            connection.cut()

    @contextmanager
    def misbehaving(self, mode: Mode, *, delay_seconds: float = 0.2) -> Iterator[None]:
        """Misbehave inside ``with``."""
        self.mode, self.delay_seconds = mode, delay_seconds
        if mode is Mode.REFUSE:
            self.reset()
        try:
            yield
        finally:
            self.mode = Mode.PASS
            if mode is Mode.BLACKHOLE:
                self.reset()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to the server."""
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(self._upstream)
        return await asyncio.open_connection("127.0.0.1", self._upstream)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._connections[connection] = task
        try:
            if self.mode is not Mode.REFUSE:
                await connection.run()
        finally:
            del self._connections[connection]
            connection.cut()


class _Connection:
    """One client and its connection to the server."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._reader = reader
        self._client = writer
        self._writers = [writer]
        self._passage: Passage | None = None

    async def run(self) -> None:
        """Pass on in both directions until either side ends."""
        try:
            reader, writer = await self._link.connect()
        except OSError:
            return
        self._writers.append(writer)
        await asyncio.gather(self._carry_requests(writer), self._carry_answers(reader))

    def cut(self) -> None:
        """End both sides at once."""
        if self._passage is not None and self._passage.ended is None:
            self._passage.ended = time.time()
        for writer in self._writers:
            writer.transport.abort()

    async def _carry_requests(self, writer: asyncio.StreamWriter) -> None:
        while data := await _read(self._reader):
            self._watch(data)
            match self._link.mode:
                case Mode.BLACKHOLE:
                    continue
                case Mode.DELAY:
                    await asyncio.sleep(self._link.delay_seconds)
                case _:
                    pass
            _write(writer, data)
        self.cut()

    async def _carry_answers(self, reader: asyncio.StreamReader) -> None:
        while data := await _read(reader):
            if not await self._carry_answer(data):
                break
        self.cut()

    async def _carry_answer(self, data: bytes) -> bool:
        """Pass an answer on as the mode wants it; tell whether the connection goes on."""
        match self._link.mode:
            case Mode.BLACKHOLE:
                return True
            case Mode.SWALLOW:
                return False
            case Mode.HALF:
                _write(self._client, data[: len(data) // 2])
                await asyncio.sleep(0)  # lets the half leave
                return False
            case Mode.DELAY:
                await asyncio.sleep(self._link.delay_seconds)
            case Mode.DRIP:
                await self._drip(data)
                return True
            case _:
                pass
        _write(self._client, data)
        return True

    async def _drip(self, data: bytes) -> None:
        for start in range(0, len(data), _DRIP_BYTES):
            _write(self._client, data[start : start + _DRIP_BYTES])
            if self._link.mode is Mode.DRIP:
                await asyncio.sleep(self._link.delay_seconds / 10)

    def _watch(self, data: bytes) -> None:
        watched = self._link.watches_for
        if watched is not None and self._passage is None and watched in data:
            self._passage = Passage(began=time.time())
            self._link.passages.append(self._passage)


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write to who is still there; asyncio complains about the others."""
    if not writer.is_closing():
        writer.write(data)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_CHUNK)
    except ConnectionError:
        return b""
