"""Redis as arq's queue: rings doorbells. A lost doorbell loses time, never a request: Postgres has the work."""

import asyncio
import time
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from service.core.errors import QueueUnavailable

#: The arq queue of doorbells, and the one function that answers them.
DOORBELL_QUEUE = "release:doorbells"
LOOK = "look"
#: Most doorbells of one key that are answered at once, so also the most calls at once for one key.
BELLS_PER_KEY = 8
_ANSWER_TIMEOUT_SECONDS = 5.0
_RING_TIMEOUT_SECONDS = 3.0


def serialize_job(job: dict[str, Any]) -> bytes:
    """Write a job as JSON; what JSON cannot say, such as an exception as a result, becomes its text."""
    return orjson.dumps(job, default=repr)


def deserialize_job(raw: bytes) -> dict[str, Any]:
    """Read a job from JSON; nothing from Redis is ever unpickled.

    Raises:
        ValueError: not a JSON object; arq then drops the job.
    """
    job = orjson.loads(raw)
    if not isinstance(job, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 - arq wants one kind of error
    return job


class translated(AbstractContextManager[None]):  # noqa: N801 - reads as a keyword where it is used
    """Turns the words of redis-py for "Redis is away" into ours."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate the error, if it is one of those."""
        if isinstance(error, RedisError | OSError | TimeoutError):
            reason = str(error) or type(error).__name__
            raise QueueUnavailable(f"Redis does not answer: {reason}") from error


def open_redis(url: str, *, max_connections: int, retries: int) -> ArqRedis:
    """Return a client that connects on first use; a hung Redis makes it fail, not wait for ever."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=_ANSWER_TIMEOUT_SECONDS,
        socket_timeout=_ANSWER_TIMEOUT_SECONDS,
        socket_connect_timeout=_ANSWER_TIMEOUT_SECONDS,
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), retries),
        retry_on_error=[ConnectionError, TimeoutError, OSError],
        retry_on_timeout=True,
        health_check_interval=30,
    )
    client = ArqRedis(
        pool,
        job_serializer=serialize_job,
        job_deserializer=deserialize_job,
        default_queue_name=DOORBELL_QUEUE,
    )
    client.auto_close_connection_pool = True
    return client


class Doorbells:
    """Rings for batch keys: one waiting doorbell a key, however often it is rung.

    A doorbell that is being answered holds its arq job id until the vendor's call has ended, or, when its worker was
    killed, until arq believes so. So a key has several ids; the first that is not being answered is rung.
    """

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis

    async def ring(self, batch_key: UUID, *, delay: timedelta) -> bool:
        """Have a worker look at the key after the delay; False where a doorbell of the key already waits.

        Raises:
            QueueUnavailable: Redis does not answer; the sweep will ring.
        """
        defer_by = max(delay, timedelta(0))
        with translated():
            async with asyncio.timeout(_RING_TIMEOUT_SECONDS):
                for number in range(BELLS_PER_KEY):
                    job_id = bell_id(batch_key, number)
                    if await self._redis.enqueue_job(LOOK, batch_key.hex, _job_id=job_id, _defer_by=defer_by):
                        return True
                    if not await self._is_answered(job_id):
                        return False
        return False

    async def _is_answered(self, job_id: str) -> bool:
        """Tell whether a worker has the job; one that waits is put back into the queue, should only that be lost."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.exists(in_progress_key_prefix + job_id)
            pipeline.zadd(DOORBELL_QUEUE, {job_id: now_ms()}, nx=True)
            is_answered, _ = await pipeline.execute()
        return bool(is_answered)

    async def hasten(self, batch_key: UUID) -> None:
        """Let the waiting doorbells of a key sound now.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        scores = {bell_id(batch_key, number): now_ms() for number in range(BELLS_PER_KEY)}
        with translated():
            async with asyncio.timeout(_RING_TIMEOUT_SECONDS):
                await self._redis.zadd(DOORBELL_QUEUE, scores, xx=True, lt=True)


def bell_id(batch_key: UUID, number: int) -> str:
    """Return arq's id for a doorbell of a key; the same key and number, the same id."""
    return f"{LOOK}:{batch_key.hex}:{number}"


def now_ms() -> int:
    """Return the time as arq scores its queue: milliseconds since 1970."""
    return time.time_ns() // 1_000_000
