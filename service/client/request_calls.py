"""The client's calls about release requests."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Required, TypedDict, Unpack
from uuid import uuid4

import orjson

from service.client.base import Caller, page_after_page, path_of, query_of
from service.client.errors import ReleaseError
from service.client.records import Event, ReleaseRequest, Submitted
from service.client.retries import Call
from service.client.watching import Watch

REQUESTS = "/v1/release-requests"
_MOST_AT_ONCE = 1_000
#: Of a body of several requests; the service takes 1 MiB.
_MOST_BYTES = 900_000
#: Whoever waits for a shorter time still gets a look.
_ONE_LOOK_SECONDS = 2.0


class RequestBody(TypedDict, total=False):
    """The members of ``POST /v1/release-requests``."""

    project_id: str | None
    workspace: str | None
    apply_user_id: Required[str]
    approver_ids: Required[Sequence[str]]
    pending_item_list: Required[Sequence[str]]
    package_name: str | None
    not_before: datetime | str | None
    deadline: datetime | str | None
    priority: str
    labels: Mapping[str, str]
    note: str | None


class RequestFilters(TypedDict, total=False):
    """The parameters of ``GET /v1/release-requests``."""

    project_id: str | None
    workspace: str | None
    state: str | None
    error_code: str | None
    item: str | None
    labels: Mapping[str, str]
    idempotency_key: str | None
    created_after: datetime | str | None
    created_before: datetime | str | None
    page_size: int


class RequestCalls(Caller):
    """Hand release requests in, look at them, wait for them, end or repeat them."""

    async def submit(
        self, /, *, idempotency_key: str | None = None, wait: float | None = None, **body: Unpack[RequestBody]
    ) -> ReleaseRequest:
        """Hand in a release request, and return it.

        An answer that is lost is asked for again with the same key, so the request exists once.

        Args:
            idempotency_key: Your own name for the request; by default one is made for this call.
            wait: Seconds to wait for its end; when they are up, the request is returned as it stands then. The key
                must have the scope ``read`` for it.
            body: The members of the request.

        Raises:
            ReleaseError: it was refused; or no answer came, and it may be accepted or not. If it was accepted and
                cannot be waited for, the problem has its id as ``release_request_id``.
        """
        key = idempotency_key or str(uuid4())
        call = Call(method="POST", path=REQUESTS, body=orjson.dumps(body), headers={"Idempotency-Key": key})
        request = self._read(ReleaseRequest, await self._transport.ask_json(call))
        return request if request.done or not wait else await self._seen_within(request, wait)

    async def submit_many(self, requests: Iterable[Mapping[str, Any]]) -> tuple[Submitted, ...]:
        """Hand in any number of release requests; return what became of each, in their order.

        Each is a body, with an ``idempotency_key`` where it has one. A bad one does not keep the others out.

        Raises:
            ReleaseError: no answer came; what was accepted is found by its keys.
        """
        submitted: list[Submitted] = []
        for body in _bodies_of(requests):
            call = Call(method="POST", path=f"{REQUESTS}:batch", body=body)
            answer = await self._transport.ask_json(call)
            submitted += self._read_all(Submitted, answer, "results")
        return tuple(submitted)

    async def get(self, request_id: str) -> ReleaseRequest:
        """Return a release request as it stands.

        Raises:
            ReleaseError: there is none of this id that the key may see, or no answer.
        """
        return await self._get(ReleaseRequest, path_of(REQUESTS, request_id))

    async def wait(self, request_id: str, timeout: float | None = None) -> ReleaseRequest:  # noqa: ASYNC109 - for callers
        """Wait until a release request is done, however it ends, and return it.

        Raises:
            TimeoutError: it is not done after so many seconds; it goes on.
            ReleaseError: there is none of this id, or the service stays away.
        """
        seen = None
        try:
            async with aclosing(self.watch(request_id, timeout)) as changes:
                async for seen in changes:  # noqa: B007 - the last one counts
                    pass
        except TimeoutError:
            stands = "not seen" if seen is None else seen.state
            raise TimeoutError(f"{request_id} is {stands} after {timeout:g} s") from None
        if seen is None:
            raise AssertionError("a watch begins with a look")
        return seen

    async def watch(
        self,
        request_id: str,
        timeout: float | None = None,  # noqa: ASYNC109 - for callers
    ) -> AsyncGenerator[ReleaseRequest, None]:
        """Yield a release request as it stands, then again at each change until it is done.

        The service answers at the change. Where something on the way does not let calls wait, it is asked now and then.

        Raises:
            TimeoutError, ReleaseError: as of ``wait``.
        """
        end = None if timeout is None else asyncio.get_running_loop().time() + timeout
        watch = Watch(self._transport, path_of(REQUESTS, request_id))
        async with asyncio.timeout(None if timeout is None else max(timeout, _ONE_LOOK_SECONDS)):
            request = self._read(ReleaseRequest, await watch.look())
        yield request
        while not request.done:
            async with asyncio.timeout_at(end):
                document = await watch.next_change()
            request = self._read(ReleaseRequest, document)
            yield request

    async def list(self, **filters: Unpack[RequestFilters]) -> AsyncGenerator[ReleaseRequest, None]:
        """Yield the release requests that match all filters, newest first, page by page.

        Raises:
            ReleaseError: a filter is wrong, or no answer came.
        """
        pages = page_after_page(self._transport, REQUESTS, filter_query(filters))
        async for row in pages:
            yield self._read(ReleaseRequest, row)

    async def events(self, request_id: str) -> AsyncGenerator[Event, None]:
        """Yield the timeline of a release request, oldest first.

        Raises:
            ReleaseError: there is none of this id, or no answer.
        """
        async for row in page_after_page(self._transport, path_of(REQUESTS, request_id, "events"), ()):
            yield self._read(Event, row)

    async def cancel(self, request_id: str, reason: str | None = None) -> ReleaseRequest:
        """End a release request for which no call was made, and return it.

        Raises:
            ReleaseError: ``not-cancellable``, not there, or no answer.
        """
        return await self._act(ReleaseRequest, path_of(REQUESTS, request_id, "cancel"), {"reason": reason})

    async def retry(self, request_id: str, reason: str | None = None) -> ReleaseRequest:
        """Have a release request that failed or was rejected wait again, and return it.

        Raises:
            ReleaseError: ``not-retryable``, not there, or no answer; then look how it stands before the next try.
        """
        path = path_of(REQUESTS, request_id, "retry")
        return await self._act(ReleaseRequest, path, {"reason": reason}, is_repeatable=False)

    async def _seen_within(self, request: ReleaseRequest, seconds: float) -> ReleaseRequest:
        seen = request
        try:
            async with aclosing(self.watch(request.id, seconds)) as changes:
                async for seen in changes:  # noqa: B007 - the last one counts
                    pass
        except TimeoutError:
            return seen
        except ReleaseError as error:
            # It is accepted all the same, and its caller knows no other name of it.
            problem = {**error.problem, "release_request_id": request.id}
            raise ReleaseError(problem, retry_after=error.retry_after) from None
        return seen


def filter_query(filters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the query of filters; ``labels`` is a mapping."""
    labels = {f"label.{name}": text for name, text in (filters.get("labels") or {}).items()}
    return query_of({**{name: value for name, value in filters.items() if name != "labels"}, **labels})


def _bodies_of(requests: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Put requests into bodies of a size that the service takes; each request has a key."""
    parts: list[bytes] = []
    for request in requests:
        part = orjson.dumps({"idempotency_key": str(uuid4()), **request})
        if parts and (len(parts) == _MOST_AT_ONCE or sum(map(len, parts)) + len(part) > _MOST_BYTES):
            yield _body_of(parts)
            parts = []
        parts.append(part)
    if parts:
        yield _body_of(parts)


def _body_of(parts: Sequence[bytes]) -> bytes:
    return b'{"requests": [' + b", ".join(parts) + b"]}"
