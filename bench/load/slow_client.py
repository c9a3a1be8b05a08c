"""Sends the work with aiohttp's client, as another program in Python would: it needs more time than most targets."""

import time
from asyncio import TaskGroup
from collections import deque

import aiohttp
import orjson

from bench.load.orders import Order, Sent, Tally
from bench.load.work import bodies, idempotency_key


class SlowSender:
    """Sends all requests, each once, in a closed loop."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._left = deque((idempotency_key(body), orjson.dumps(body)) for body in bodies(order.work))
        self._tally = Tally()

    async def connect(self) -> None:
        """Do nothing: connections are opened with the first requests."""

    async def send_all(self) -> Sent:
        """Send, and wait for the last answer."""
        connector = aiohttp.TCPConnector(limit=self._order.connections)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self._order.port}", connector=connector) as http:
            started_at, cpu = time.time(), time.process_time()
            async with TaskGroup() as tasks:
                for _ in range(self._order.connections):
                    tasks.create_task(self._send(http))
            used = time.process_time() - cpu
            return self._tally.sent(started_at=started_at, ended_at=time.time(), cpu_seconds=used)

    async def _send(self, http: aiohttp.ClientSession) -> None:
        headers = {**self._order.headers, "Content-Type": "application/json"}
        while self._left:
            key, body = self._left.popleft()
            sent_at = time.time()
            keyed = {**headers, "Idempotency-Key": key}
            async with http.post(self._order.path, data=body, headers=keyed) as response:
                await response.read()
            self._tally.statuses[str(response.status)] += 1
            self._tally.latencies.append(time.time() - sent_at)
