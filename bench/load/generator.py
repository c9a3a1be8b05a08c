"""Sends the work over kept connections, in a process of its own: ``python -m bench.load.generator ORDER``.

It says ``ready``, waits for a line, sends, and prints what it saw as JSON. What is sent is put together before.
"""

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import cast

import orjson
import uvloop

from bench.load.wire import Cutter, Message
from bench.load.work import Work, messages

ACCEPTED = b"202"
_ID = b'"id":"'
_ID_LENGTH = 36
_MOST_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is sent where. Without a rate each connection sends when its answer is there (a closed loop)."""

    port: int
    path: str
    work: Work
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 64
    #: Requests a second, whether answers are there or not (an open loop).
    rate: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, in seconds since 1970."""

    request_id: str
    sent_at: float
    answered_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of the order."""

    started_at: float
    ended_at: float
    accepted: int
    refused: dict[str, int]
    cpu_seconds: float
    latencies_ms: list[float]
    #: Of an open loop only.
    exchanges: list[Exchange]


class Connection(asyncio.Protocol):
    """One connection; it sends one request at a time."""

    def __init__(self, answered: Callable[["Connection", Message], None]) -> None:
        self.sent_at = 0.0
        self._answered = answered
        self._cutter = Cutter()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self, message: bytes) -> None:
        """Send a request."""
        assert self._transport is not None  # noqa: S101 - connected before
        self.sent_at = time.time()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        """Hand an answer on when it is whole."""
        message = self._cutter.feed(data)
        if message is not None:
            self._answered(self, message)


class Sender:
    """Sends all messages, each once."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._left = deque(messages(order.work, path=order.path, headers=order.headers))
        self._unanswered = len(self._left)
        self._idle: deque[Connection] = deque()
        self._overdue: deque[bytes] = deque()
        self._statuses: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._exchanges: list[Exchange] = []
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
        accepted = self._statuses.pop(ACCEPTED.decode(), 0)
        return Sent(
            started_at=started_at,
            ended_at=time.time(),
            accepted=accepted,
            refused=dict(self._statuses),
            cpu_seconds=time.process_time() - cpu,
            latencies_ms=[round(1000 * seconds, 3) for seconds in sorted(self._latencies)],
            exchanges=self._exchanges,
        )

    def _new(self) -> Connection:
        return Connection(self._answered)

    async def _send_in_turn(self) -> None:
        while self._idle and self._left:
            self._idle.popleft().send(self._left.popleft())

    async def _send_at_rate(self) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(len(self._left)):
            await asyncio.sleep(start + number / self._order.rate - loop.time())
            self._overdue.append(self._left.popleft())
            if self._idle:
                self._idle.popleft().send(self._overdue.popleft())

    def _answered(self, connection: Connection, message: Message) -> None:
        now = time.time()
        self._statuses[message.head[9:12].decode()] += 1
        self._latencies.append(now - connection.sent_at)
        if self._order.rate:
            self._exchanges.append(_exchange(connection.sent_at, now, message.body))
        self._unanswered -= 1
        if not self._unanswered:
            self._done.set()
        waiting = self._overdue if self._order.rate else self._left
        if waiting:
            connection.send(waiting.popleft())
        else:
            self._idle.append(connection)


def _exchange(sent_at: float, answered_at: float, body: bytes) -> Exchange:
    start = body.find(_ID) + len(_ID)
    return Exchange(
        request_id=body[start : start + _ID_LENGTH].decode(), sent_at=sent_at, answered_at=answered_at
    )


async def run(order: Order) -> Sent:
    """Prepare, wait for the word, and send."""
    sender = Sender(order)
    await sender.connect()
    print("ready", flush=True)  # noqa: T201 - read by the parent
    await asyncio.to_thread(sys.stdin.readline)
    return await sender.send_all()


def read_order(text: str) -> Order:
    """Read an order as ``write_order`` wrote it."""
    members = orjson.loads(text)
    return Order(**{**members, "work": Work(**members["work"])})


def write_order(order: Order) -> str:
    """Write an order for the command line."""
    return orjson.dumps(asdict(order)).decode()


def read_sent(text: bytes) -> Sent:
    """Read what a generator printed."""
    members = orjson.loads(text)
    return Sent(**{**members, "exchanges": [Exchange(**each) for each in members["exchanges"]]})


if __name__ == "__main__":
    sent = uvloop.run(run(read_order(sys.argv[1])))
    sys.stdout.buffer.write(orjson.dumps(asdict(sent)) + b"\n")
