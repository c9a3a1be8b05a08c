"""Hands release requests in over Redis, without HTTP: what the queue door takes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import orjson
from arq.connections import ArqRedis
from arq.jobs import Job, ResultNotFound, SerializationError
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from service.client.errors import ReleaseError
from service.core.errors import QueueUnavailable

_FUNCTION = "release_request"
_VERSION = 1
_TIMEOUT_SECONDS = 5.0
_MOST_CONNECTIONS = 16
#: arq forgets a job that waits for longer; the service may be away for some time.
_EXPIRES = timedelta(days=30)
_POLL_SECONDS = 0.05


class QueuedRequest:
    """A release request on the queue."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def job_id(self) -> str:
        """The id that arq knows the job by."""
        return self._job.job_id

    async def result(self, timeout: float | None = None) -> dict[str, Any]:  # noqa: ASYNC109 - arq's own, for callers
        """Wait until a worker has taken the request; return its ``id`` and ``state``. Kept for an hour.

        Raises:
            ReleaseError: the request was refused, with the problem's members.
            TimeoutError: no worker has taken it yet; it stays on the queue.
            QueueUnavailable: Redis does not answer.
        """
        with _translated():
            try:
                result = await self._job.result(timeout=timeout, poll_delay=_POLL_SECONDS)
            except (ResultNotFound, SerializationError):
                raise ReleaseError(_NO_RESULT) from None
        if not (isinstance(result, dict) and "id" in result):
            problem = result.get("problem") if isinstance(result, dict) else None
            raise ReleaseError(problem or _NO_RESULT)
        return result


_NO_RESULT = {
    "code": "no-result",
    "title": "The queue has no result of this job.",
    "detail": "Results are kept for an hour. Find the request by its idempotency key, or a refusal at /v1/rejects.",
}


class QueueProducer:
    """Enqueues release requests; connects on first use. A request is as safe as that Redis until it is accepted."""

    def __init__(
        self, redis_url: str, queue: str = "release:requests", *, expires: timedelta = _EXPIRES
    ) -> None:
        self._queue = queue
        self._expires = expires
        pool = BlockingConnectionPool.from_url(
            redis_url,
            max_connections=_MOST_CONNECTIONS,
            timeout=_TIMEOUT_SECONDS,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
        )
        self._redis = ArqRedis(pool, job_serializer=orjson.dumps, job_deserializer=orjson.loads)
        self._redis.auto_close_connection_pool = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def enqueue(
        self,
        request: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> QueuedRequest:
        """Put a request on the queue: the body of ``POST /v1/release-requests``.

        The same key and request again give the same release request, so with a key it is safe to call this again.

        Raises:
            TypeError: the request holds what JSON cannot say.
            QueueUnavailable: Redis does not answer; the request may be on the queue all the same.
        """
        envelope = {
            "v": _VERSION,
            "idempotency_key": idempotency_key,
            "traceparent": traceparent,
            # Written once before: arq has another error for what JSON cannot say.
            "request": orjson.loads(orjson.dumps(dict(request))),
        }
        with _translated():
            job = await self._redis.enqueue_job(
                _FUNCTION, envelope, _queue_name=self._queue, _expires=self._expires
            )
        if job is None:
            raise AssertionError("each job has a new id")
        return QueuedRequest(job)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the words of redis-py for "Redis is away" into ours; that no result is there yet is another matter."""
    try:
        yield
    except (RedisError, ConnectionError) as error:
        raise QueueUnavailable(f"Redis does not answer: {error or type(error).__name__}") from error
