"""Named points at which a test may hold the next create call, to do something exactly then."""

import asyncio
from enum import StrEnum


class HoldPoint(StrEnum):
    """Where a call can be held: before its effect, before its answer, or once its answer has left."""

    BEFORE_APPLY = "before_apply"
    AFTER_APPLY = "after_apply"
    AFTER_ANSWER = "after_answer"


class Hold:
    """Holds one call at a time: armed by a test, reached by a call, let go by the test."""

    def __init__(self) -> None:
        self.armed: HoldPoint | None = None
        #: The call that is held.
        self.call: int | None = None
        self._is_held = asyncio.Event()
        self._let_go = asyncio.Event()

    def arm(self, point: HoldPoint) -> None:
        """Hold the next create call that reaches the point."""
        self.let_go()
        self.armed = point
        self._let_go = asyncio.Event()

    def let_go(self) -> None:
        """Let the held call go on, and hold no other."""
        self.armed = None
        self.call = None
        self._is_held.clear()
        self._let_go.set()

    async def wait_until_held(self, seconds: float) -> None:
        """Return when a call is held, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._is_held.wait()
        except TimeoutError:
            return

    async def pass_point(self, point: HoldPoint, call: int) -> None:
        """Go on at once, or when the test lets go if the point is armed."""
        if self.armed is not point:
            return
        self.armed = None
        self.call = call
        self._is_held.set()
        await self._let_go.wait()
