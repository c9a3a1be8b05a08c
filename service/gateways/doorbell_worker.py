"""The arq worker that answers doorbells: one trip to Redis takes all that are due, and one ends each."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix
from arq.worker import func
from redis.exceptions import RedisError

from service.gateways.doorbells import LOOK, SOON, SOUNDS, Bell, Doorbells, Ring
from service.gateways.queue import DOORBELL_QUEUE
from service.gateways.queue_worker import SafeWorker

_LISTEN_SECONDS = 1.0

#: Has a doorbell forgotten, and rings for the next look at its key.
End: TypeAlias = Callable[[Ring | None], Awaitable[None]]
Answer: TypeAlias = Callable[[Bell, End], Awaitable[None]]


class Sounds:
    """Listens for doorbells that sound soon."""

    def __init__(self) -> None:
        #: Is set by each sound; whoever waits for one clears it.
        self.has_sounded = asyncio.Event()
        #: Whether a sound was heard on the connection of this moment.
        self.is_heard = False

    async def listen(self, redis: ArqRedis) -> None:
        """Listen until cancelled; while Redis is away nothing is heard."""
        while True:
            try:
                await self._listen(redis)
            except (RedisError, OSError, RuntimeError):
                self.is_heard = False
                await asyncio.sleep(_LISTEN_SECONDS)

    async def _listen(self, redis: ArqRedis) -> None:
        async with redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(SOUNDS)
            await redis.publish(SOUNDS, "")  # who does not hear that will hear nobody
            while True:
                if await channel.get_message(timeout=_LISTEN_SECONDS) is not None:
                    self.is_heard = True
                    self.has_sounded.set()


class DoorbellWorker(SafeWorker):
    """Answers doorbells as arq does jobs: a job that is cut off is done again, and so is that of a dead worker.

    The id of a doorbell says all, so its job is not read; nor are tries counted, since a look may be taken any number
    of times. What is no doorbell goes arq's own way.
    """

    def __init__(self, *, answer: Answer, sounds: Sounds, **settings: Any) -> None:  # noqa: ANN401 - arq's own
        super().__init__(
            functions=[func(self._ring_for, name=LOOK, keep_result=0)],
            queue_name=DOORBELL_QUEUE,
            bell=sounds.has_sounded,
            **settings,
        )
        self._answer = answer
        self._sounds = sounds
        self._doorbells = Doorbells(self.pool)

    async def _ring_for(self, ctx: dict[str, Any], key: str) -> None:  # noqa: ARG002 - arq names it
        """Ring a doorbell for a job that asks for a look under an id of its own."""
        await self._doorbells.ring(UUID(hex=key), delay=timedelta(0))

    async def _is_left(self, job_id: str) -> bool:
        """Look in any case: what the doorbell was rung for may have come after the other look."""
        return Bell.of(job_id) is not None or await super()._is_left(job_id)

    async def _perform(self, job_id: str, score: int) -> None:
        bell = Bell.of(job_id)
        if bell is None:
            await super()._perform(job_id, score)
            return
        try:
            await self._answer(bell, lambda ring: asyncio.shield(self._doorbells.end(bell, ring)))
        except asyncio.CancelledError:
            await asyncio.shield(self.pool.delete(in_progress_key_prefix + job_id))
        else:
            self.jobs_complete += 1

    def _pause(self) -> timedelta:
        """Poll when the next doorbell is due; one that is to sound sooner is heard."""
        usual = super()._pause()
        if not self._sounds.is_heard or self.job_counter >= self.max_jobs:
            return usual
        return max(usual, min(self._due_in or SOON, SOON))
