"""The link must misbehave as it says, or a test behind it proves nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.link import Link, Mode
from tests.support.waiting import eventually


@asynccontextmanager
async def linked(answer: bytes = b"0123456789") -> AsyncIterator[tuple[Link, list[bytes]]]:
    """A link in front of a server that gives each request, a line, the same answer; and what the server has read."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            received.append(line)
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        upstream: int = server.sockets[0].getsockname()[1]
        async with Link(upstream, listens_at=0, watches_for=b"create").running() as link:
            yield link, received


async def ask(link: Link, line: bytes = b"create\n", *, within: float = 5.0) -> bytes:
    """Return what comes of a request until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        async with asyncio.timeout(within):
            writer.write(line)
            return await reader.readexactly(10)
    except asyncio.IncompleteReadError as error:
        return error.partial
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_link_passes_on_and_remembers_what_it_watches_for() -> None:
    """Without a mode nothing is changed; a watched request is remembered with its beginning and end."""
    async with linked() as (link, received):
        assert await ask(link) == b"0123456789"
        assert await ask(link, b"read\n") == b"0123456789"

    assert received == [b"create\n", b"read\n"]
    assert [passage.ended is not None for passage in link.passages] == [True]


@pytest.mark.parametrize(
    ("mode", "told", "reaches"),
    [
        (Mode.REFUSE, b"", False),
        (Mode.HALF, b"01234", True),
        (Mode.SWALLOW, b"", True),
        (Mode.DELAY, b"0123456789", True),
        (Mode.DRIP, b"0123456789", True),
    ],
)
async def test_a_link_misbehaves_and_recovers(mode: Mode, told: bytes, *, reaches: bool) -> None:
    """Each mode spoils what it says, on the side that it says, and ends with its time."""
    async with linked() as (link, received):
        with link.misbehaving(mode, delay_seconds=0.05):
            assert await ask(link) == told
        assert (received == [b"create\n"]) is reaches
        assert await ask(link) == b"0123456789"


async def test_a_black_hole_keeps_the_connection_and_the_bytes() -> None:
    """Nothing arrives and nothing is refused; when it ends the connection is cut."""
    async with linked() as (link, received):
        with link.misbehaving(Mode.BLACKHOLE):
            asking = asyncio.ensure_future(ask(link))
            await eventually(lambda: link.passages)
            assert not asking.done()
        assert await asking == b""
        assert received == []


async def test_a_late_request_arrives_although_its_sender_has_gone() -> None:
    """A delayed request is carried out after its sender gave up, as on a real network."""
    async with linked() as (link, received):
        with link.misbehaving(Mode.DELAY, delay_seconds=0.3):
            with pytest.raises(TimeoutError):
                await ask(link, within=0.1)
            assert received == []
            await eventually(lambda: received)

    assert received == [b"create\n"]
