"""A small proxy in front of PostgreSQL on its unix socket, which misbehaves as networks do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

SOCKET_NAME = ".s.PGSQL.5432"
#: Type and length of the message with the id of the backend, and the first byte of that id.
_BACKEND_ID = b"K\x00\x00\x00\x0c\x00"
_OTHER_BACKEND_ID = b"K\x00\x00\x00\x0c\x70"


class Mode(Enum):
    """What the proxy does with connections."""

    PASS = auto()
    #: New connections are cut at once.
    REFUSE = auto()
    #: Whatever comes is swallowed: see ``swallow``.
    SWALLOW = auto()


class PostgresProxy:
    """Passes connections on to PostgreSQL; ``url`` is the address to use in place of the server's."""

    def __init__(self, server_url: str, directory: Path) -> None:
        self.mode = Mode.PASS
        self.url = urlsplit(server_url)._replace(query=f"host={quote(str(directory))}").geturl()
        #: How many answers, or messages, were lost on purpose.
        self.lost = 0
        #: Whether a chosen message is cut off before the server has it.
        self.cuts_messages = False
        #: Whether clients are told ids of backends that are not PostgreSQL's, as poolers do.
        self.renames_backends = False
        self._upstream = Path(parse_qs(urlsplit(server_url).query)["host"][0]) / SOCKET_NAME
        self._listens_at = directory / SOCKET_NAME
        self._pattern: bytes | None = None
        self._one_in = 1
        self._matched = 0
        self._connections: dict[_Connection, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen; at the end every connection is cut."""
        server = await asyncio.start_unix_server(self._serve, self._listens_at)
        try:
            yield self
        finally:
            server.close()
            self.reset()
            await asyncio.gather(*self._connections.values())

    def reset(self) -> None:
        """Cut every connection."""
        for connection in self._connections:
            connection.cut()

    def swallow(self) -> None:
        """From now on swallow whatever comes; the connections of this moment stay dead for good."""
        self.mode = Mode.SWALLOW
        for connection in self._connections:
            connection.is_dead = True

    def lose_answers_to(self, pattern: bytes, *, one_in: int) -> None:
        """Of so many messages with the pattern, pass the first on and cut the connection when the server answers.

        With ``cuts_messages`` the connection is cut before the server has the message.
        """
        self._pattern, self._one_in, self._matched = pattern, one_in, 0

    def lose_none(self) -> None:
        """Pass every answer on again."""
        self._pattern = None

    def loses_answer_to(self, message: bytes) -> bool:
        """Tell whether the answer to a message is to be lost."""
        if self._pattern is None or self._pattern not in message:
            return False
        self._matched += 1
        return self._matched % self._one_in == 1 % self._one_in

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._connections[connection] = task
        try:
            if self.mode is not Mode.REFUSE:
                await connection.run(self._upstream)
        finally:
            del self._connections[connection]
            connection.cut()


class _Connection:
    """One client and its connection to the server."""

    def __init__(
        self, proxy: PostgresProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._is_answer_lost = False
        #: Whether everything is swallowed, both ways.
        self.is_dead = False

    async def run(self, upstream: Path) -> None:
        """Pass on in both directions until either side ends."""
        reader, writer = await asyncio.open_unix_connection(upstream)
        client = self._writers[0]
        self._writers.append(writer)
        await asyncio.gather(self._pass_to_server(writer), self._pass_to_client(reader, client))

    def cut(self) -> None:
        """End both sides at once."""
        for writer in self._writers:
            writer.transport.abort()

    async def _pass_to_server(self, writer: asyncio.StreamWriter) -> None:
        while data := await self._read(self._reader):
            self._is_answer_lost = self._proxy.loses_answer_to(data)
            if self._is_answer_lost and self._proxy.cuts_messages:
                self._proxy.lost += 1
                break
            self._pass_on(writer, data)
        self.cut()

    def _pass_on(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self.is_dead = self.is_dead or self._proxy.mode is Mode.SWALLOW
        if not self.is_dead:
            writer.write(data)

    async def _pass_to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (data := await self._read(reader)) and not self._is_answer_lost:
            if self._proxy.renames_backends:
                data = data.replace(_BACKEND_ID, _OTHER_BACKEND_ID)
            self._pass_on(writer, data)
        self._proxy.lost += bool(data) and self._is_answer_lost
        self.cut()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(65536)
        except ConnectionError:
            return b""
