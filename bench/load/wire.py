"""Cuts a stream of bytes into HTTP/1.1 messages with a ``Content-Length``: as much as both ends of a measurement need."""

import re
from dataclasses import dataclass

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Message:
    """One message: start line and headers, and the body."""

    head: bytes
    body: bytes


class Cutter:
    """Takes bytes as they come, and returns a message when it is whole; the other end waits for its answer first."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Message | None:
        """Add bytes; return the message that they complete."""
        self._held = held = self._held + data if self._held else data
        end = held.find(_END_OF_HEAD)
        if end < 0:
            return None
        head = held[:end]
        found = _LENGTH.search(head)
        size = end + len(_END_OF_HEAD) + (int(found[1]) if found else 0)
        if len(held) < size:
            return None
        self._held = held[size:]
        return Message(head, held[end + len(_END_OF_HEAD) : size])
