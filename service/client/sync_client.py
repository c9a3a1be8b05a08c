"""The client of the HTTP API, for programs without an event loop: each call is one of ``ReleaseClient``."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from service.client.release_client import RETRY_SECONDS, TIMEOUT_SECONDS, ReleaseClient

P = ParamSpec("P")
T = TypeVar("T")


class _Loop:
    """An event loop in a thread of its own, so that a caller may have one that runs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="release-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; an interrupt of the caller ends it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _blocking(
    method: Callable[Concatenate[ReleaseClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["SyncReleaseClient", P], T]:
    @wraps(method)
    def call(self: "SyncReleaseClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(method(self.client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[ReleaseClient, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["SyncReleaseClient", P], Iterator[T]]:
    @wraps(method)
    def call(self: "SyncReleaseClient", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.walk(method(self.client, *args, **kwargs))

    return call


async def _next_of(entries: AsyncGenerator[T, None]) -> tuple[T] | None:
    try:
        return (await anext(entries),)
    except StopAsyncIteration:
        return None


class SyncReleaseClient:
    """Calls the service at ``url``; use it as ``with``, or close it. The methods are those of ``ReleaseClient``."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retry_for: float = RETRY_SECONDS,
    ) -> None:
        """Build a client, as ``ReleaseClient`` is built; it connects on first use.

        Raises:
            ValueError: the address is none.
        """
        self.client = ReleaseClient(url, api_key, timeout=timeout, retry_for=retry_for)
        self._loop: _Loop | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and end the thread."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.run(self.client.close())
            loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the client to its end, in the thread of this object."""
        if self._loop is None:
            self._loop = _Loop()
        return self._loop.run(work)

    def walk(self, entries: AsyncGenerator[T, None]) -> Iterator[T]:
        """Yield what an iterator of the client yields."""
        try:
            while entry := self.run(_next_of(entries)):
                yield entry[0]
        finally:
            if self._loop is not None:
                self.run(entries.aclose())

    submit = _blocking(ReleaseClient.submit)
    submit_many = _blocking(ReleaseClient.submit_many)
    get = _blocking(ReleaseClient.get)
    wait = _blocking(ReleaseClient.wait)
    watch = _iterating(ReleaseClient.watch)
    list = _iterating(ReleaseClient.list)
    events = _iterating(ReleaseClient.events)
    cancel = _blocking(ReleaseClient.cancel)
    retry = _blocking(ReleaseClient.retry)
    workspaces = _iterating(ReleaseClient.workspaces)
    workspace = _blocking(ReleaseClient.workspace)
    pause = _blocking(ReleaseClient.pause)
    resume = _blocking(ReleaseClient.resume)
    flush = _blocking(ReleaseClient.flush)
    configure = _blocking(ReleaseClient.configure)
    attention = _iterating(ReleaseClient.attention)
    resolve = _blocking(ReleaseClient.resolve)
    batches = _iterating(ReleaseClient.batches)
    batch = _blocking(ReleaseClient.batch)
    preview = _blocking(ReleaseClient.preview)
    execute = _blocking(ReleaseClient.execute)
    operation = _blocking(ReleaseClient.operation)
    abort = _blocking(ReleaseClient.abort)
    rejects = _iterating(ReleaseClient.rejects)
    audit = _blocking(ReleaseClient.audit)
    audit_log = _iterating(ReleaseClient.audit_log)
