"""Redis as arq's queue: the connections to it, and jobs as JSON."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import orjson
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError, ResponseError

from service.core.errors import QueueUnavailable

#: The arq queue of doorbells.
DOORBELL_QUEUE = "release:doorbells"
#: The end of the year 9999, the last that Python's dates know.
_LAST_MOMENT_MS = 253_402_300_799_000
_ANSWER_TIMEOUT_SECONDS = 5.0


def serialize_job(job: dict[str, Any]) -> bytes:
    """Write a job as JSON; what JSON cannot say, such as an exception as a result, becomes its text."""
    return orjson.dumps(job, default=repr)


def deserialize_job(raw: bytes) -> dict[str, Any]:
    """Read a job from JSON; nothing from Redis is ever unpickled.

    Raises:
        ValueError: not a job; arq then drops it. What arq takes on trust would end its worker.
    """
    job = orjson.loads(raw)
    json.loads(raw, object_pairs_hook=_each_once)
    if not (isinstance(job, dict) and all(name in job and fits(job[name]) for name, fits in _JOB.items())):
        raise ValueError("expected the JSON of a job")
    return job


def _each_once(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("expected each member once")


#: What arq writes of a job: earlier tries, function, arguments, named arguments, and when it was enqueued.
_JOB: Mapping[str, Callable[[Any], bool]] = {
    "t": lambda tries: tries is None or type(tries) is int,
    "f": lambda function: isinstance(function, str),
    "a": lambda arguments: isinstance(arguments, list),
    "k": lambda named: isinstance(named, dict),
    "et": lambda enqueued: type(enqueued) is int and 0 <= enqueued <= _LAST_MOMENT_MS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What lies under the id of a job: its beginning, and how much it is; None where nothing does."""

    beginning: bytes | None
    size: int | None


async def read_payload(redis: ArqRedis, job_id: str, *, most: int) -> Payload:
    """Read the beginning of a job as it was written.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    with translated():
        async with redis.pipeline(transaction=True) as pipe:
            pipe.getrange(job_key_prefix + job_id, 0, most - 1)
            pipe.strlen(job_key_prefix + job_id)
            beginning, size = await pipe.execute()
    return Payload(beginning=beginning, size=size) if size else Payload(beginning=None, size=None)


class translated(AbstractContextManager[None]):  # noqa: N801 - reads as a keyword where it is used
    """Turns the words of redis-py for "Redis is away" into ours."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate the error, if it is one of those."""
        if isinstance(error, RedisError | OSError | TimeoutError) or _is_closed_socket(error):
            reason = str(error) or type(error).__name__
            raise QueueUnavailable(f"Redis does not answer: {reason}") from error


def _is_closed_socket(error: BaseException | None) -> bool:
    """Tell uvloop's word for a write to a socket that broke a moment ago; redis-py lets it through."""
    return isinstance(error, RuntimeError) and str(error).endswith("the handler is closed")


def is_refusal_of_a_key(error: ResponseError) -> bool:
    """Tell whether Redis minds what a key holds; what it minds for another reason has an error of its own."""
    return type(error) is ResponseError


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


def now_ms() -> int:
    """Return the time as arq scores its queue: milliseconds since 1970."""
    return time.time_ns() // 1_000_000
