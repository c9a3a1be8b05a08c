"""Producers that hand in over the queue, and write down what the job's result told them, if one came."""

import asyncio
import time
import uuid
from datetime import timedelta
from random import Random
from typing import Any

import orjson
from arq.connections import ArqRedis
from arq.jobs import Job, ResultNotFound
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from tests.chaos.history import TRY_SECONDS, Callers, Entry, Try

QUEUE = "release:requests"
DOOR = "queue"
_EXPIRES = timedelta(days=7)


class Producers(Callers):
    """Enqueue until there is an id: a job that Redis lost, or that has no result yet, was never promised anything."""

    async def _ask_until_known(self, entry: Entry, random: Random) -> None:
        """Enqueue until there is an id, and now and then once more, always under the same idempotency key."""
        while not entry.ids or random.random() < 0.1:
            at = time.time()
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    status, told = await self._enqueue(entry)
            except (RedisError, OSError, TimeoutError, ResultNotFound) as error:
                status, told = None, repr(error)
            entry.tries.append(Try(at=at, door=DOOR, status=status, told=told))
            self._judge(entry, status, told)
            if status != 202:
                await asyncio.sleep(0.2)  # the pace of those who have to ask again

    async def _enqueue(self, entry: Entry) -> tuple[int, str]:
        """Put a job on the queue and wait for its result."""
        envelope = {"v": 1, "idempotency_key": entry.key, "traceparent": None, "request": dict(entry.body)}
        async with ArqRedis(
            ConnectionPool.from_url(self._world.stack.redis_url),
            job_serializer=orjson.dumps,
            job_deserializer=orjson.loads,
        ) as redis:
            redis.auto_close_connection_pool = True
            job_id = uuid.uuid4().hex
            # It returns None where a first try, whose answer was lost, has made the job already.
            await redis.enqueue_job(
                "release_request", envelope, _job_id=job_id, _queue_name=QUEUE, _expires=_EXPIRES
            )
            job = Job(job_id, redis, _queue_name=QUEUE, _deserializer=orjson.loads)
            result: dict[str, Any] = await job.result(poll_delay=0.1)
        if "problem" in result:
            return result["problem"]["status"], result["problem"]["code"]
        return 202, result["id"]
