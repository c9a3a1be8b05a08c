"""Spreads the beginning of requests over turns of the event loop.

When a thousand callers ask at once, what takes several turns, such as a health check, would wait for all of them in
each turn. So only some begin in a turn; the others follow in their order.
"""

import asyncio
from collections import deque

_PER_TURN = 32


class Pacer:
    """Lets so many requests begin in each turn of the event loop."""

    def __init__(self, *, per_turn: int = _PER_TURN) -> None:
        self._per_turn = per_turn
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_next_turn_set = False

    async def begin(self) -> None:
        """Return at once, or in a later turn where many have begun in this one."""
        self._set_next_turn()
        if self._begun < self._per_turn:
            self._begun += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _set_next_turn(self) -> None:
        if not self._is_next_turn_set:
            self._is_next_turn_set = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_next_turn_set = False
        self._begun = 0
        while self._waiting and self._begun < self._per_turn:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._begun += 1
        if self._begun:
            self._set_next_turn()
