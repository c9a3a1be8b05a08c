"""Sends the work over kept connections, in a process of its own: ``python -m bench.load.generator ORDER``.

It says ``ready``, waits for a line, sends, and prints what it saw as JSON. What is sent is put together before.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import uvloop

from bench.load.orders import Exchange, Order, Sent, Tally, read_order, write_sent
from bench.load.slow_client import SlowSender
from bench.load.wire import Cutter, Message
from bench.load.work import messages

_ID = b'"id":"'
_ID_LENGTH = 36
_MOST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Due:
    """A request, and when it was to be sent: one that had to wait for a connection has waited too."""

    message: bytes
    at: float


class Connection(asyncio.Protocol):
    """One connection; it sends one request at a time."""

    def __init__(self, answered: Callable[["Connection", float, Message], None]) -> None:
        self._answered = answered
        self._cutter = Cutter()
        self._transport: asyncio.WriteTransport | None = None
        self._due_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """End the measurement: a target that hangs up on requests cannot be measured."""
        if self._due_at:
            sys.exit("a connection was lost before its answer")

    def send(self, due: Due) -> None:
        """Send a request."""
        assert self._transport is not None  # noqa: S101 - connected before
        self._due_at = due.at
        self._transport.write(due.message)

    def data_received(self, data: bytes) -> None:
        """Hand an answer on when it is whole."""
        message = self._cutter.feed(data)
        if message is not None:
            due_at, self._due_at = self._due_at, 0.0
            self._answered(self, due_at, message)


class Sender:
    """Sends all messages, each once."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._left = deque(messages(order.work, path=order.path, headers=order.headers))
        self._unanswered = len(self._left)
        self._idle: deque[Connection] = deque()
        self._overdue: deque[Due] = deque()
        self._tally = Tally()
        self._done = asyncio.Event()

    async def connect(self) -> None:
        """Open all connections."""
        loop = asyncio.get_running_loop()
        for _ in range(self._order.connections):
            _, connection = await loop.create_connection(self._new, "127.0.0.1", self._order.port)
            self._idle.append(connection)

    async def send_all(self) -> Sent:
        """Send, and wait for the last answer."""
        started_at, cpu = time.time(), time.process_time()
        await (self._send_at_rate() if self._order.rate else self._send_in_turn())
        await asyncio.wait_for(self._done.wait(), _MOST_SECONDS)
        used = time.process_time() - cpu
        return self._tally.sent(started_at=started_at, ended_at=time.time(), cpu_seconds=used)

    def _new(self) -> Connection:
        return Connection(self._answered)

    async def _send_in_turn(self) -> None:
        while self._idle and self._left:
            self._idle.popleft().send(Due(self._left.popleft(), time.time()))

    async def _send_at_rate(self) -> None:
        start = time.time()
        for number in range(len(self._left)):
            due_at = start + number / self._order.rate
            await asyncio.sleep(due_at - time.time())
            self._overdue.append(Due(self._left.popleft(), due_at))
            if self._idle:
                self._idle.popleft().send(self._overdue.popleft())

    def _answered(self, connection: Connection, due_at: float, message: Message) -> None:
        now = time.time()
        self._note(now, due_at, message)
        self._unanswered -= 1
        if not self._unanswered:
            self._done.set()
        if self._overdue:
            connection.send(self._overdue.popleft())
        elif self._left and not self._order.rate:
            connection.send(Due(self._left.popleft(), now))
        else:
            self._idle.append(connection)

    def _note(self, now: float, due_at: float, message: Message) -> None:
        tally = self._tally
        tally.statuses[message.head[9:12].decode()] += 1
        tally.latencies.append(now - due_at)
        if self._order.rate:
            start = message.body.find(_ID) + len(_ID)
            request_id = message.body[start : start + _ID_LENGTH].decode()
            tally.exchanges.append(Exchange(request_id=request_id, answered_at=now))


async def run(order: Order) -> Sent:
    """Prepare, wait for the word, and send."""
    sender = SlowSender(order) if order.is_slow else Sender(order)
    await sender.connect()
    print("ready", flush=True)  # noqa: T201 - read by the parent
    await asyncio.to_thread(sys.stdin.readline)
    return await sender.send_all()


if __name__ == "__main__":
    sys.stdout.buffer.write(write_sent(uvloop.run(run(read_order(sys.argv[1])))))
