"""The last look before a request is written: it decides between *certainly not sent* and *in doubt*.

aiohttp asks a payload for its bytes when the connection is there, and writes the headers together with
the first of them. So a payload that refuses to give its bytes keeps the whole request off the socket, and
aiohttp closes the connection (``ClientRequest.write_bytes`` of aiohttp 3.14). A trace signal would not
do: raised from ``on_connection_create_end`` an error leaves the new connection open.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload


class WriteRefusedError(Exception):
    """The request must not be written any more."""


async def never_held() -> bool:
    """Tell that nothing holds a call: for calls without a limiter."""
    return False


class WriteGate:
    """Lets one request through while its lease lasts and nothing holds it, and remembers when it did."""

    def __init__(
        self,
        deadline: float,
        *,
        is_held: Callable[[], Awaitable[bool]] = never_held,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        """Build a gate for one call.

        Args:
            deadline: Moment of ``time.monotonic()`` from which nothing may be written.
            is_held: Awaited when the connection is there; the request is not written where it returns true.
            before_write: Called between the last look and the write.
        """
        self._deadline = deadline
        self._is_held = is_held
        self._before_write = before_write
        self._is_shut = False
        #: UTC; None as long as nothing was written.
        self.sent_at: datetime | None = None
        #: Whether the request came too late.
        self.is_expired = False
        #: Whether the limiter did not let it be written.
        self.was_held = False

    @property
    def holds_back(self) -> bool:
        """Whether it was the gate that kept the request from being written."""
        return self.sent_at is None and (self.is_expired or self.was_held)

    async def look_once_more(self) -> None:
        """Ask whether the call may still be written, now that the connection is there.

        Raises:
            WriteRefusedError: It may not.
        """
        self.was_held = await self._is_held()
        if self.was_held:
            raise WriteRefusedError("the limiter does not let it be written")

    def pass_through(self) -> None:
        """Let the request be written.

        Raises:
            WriteRefusedError: The deadline has passed, or the call was given up.
        """
        if self._is_shut:
            raise WriteRefusedError("the call was given up")
        if time.monotonic() >= self._deadline:
            self.is_expired = True
            raise WriteRefusedError("too little of the lease is left for a call")
        self.sent_at = datetime.now(UTC)
        if self._before_write is not None:
            self._before_write()

    def shut(self) -> None:
        """Let nothing through from now on."""
        self._is_shut = True


class GatedBody(BytesPayload):
    """A request body that the gate must let through."""

    def __init__(self, body: bytes, *, gate: WriteGate) -> None:
        super().__init__(body)
        self._gate = gate

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, and with it the headers, if the gate lets it.

        Raises:
            WriteRefusedError: The gate is shut.
        """
        await self._gate.look_once_more()
        self._gate.pass_through()
        await super().write_with_length(writer, content_length)
