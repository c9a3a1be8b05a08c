"""Sends calls over HTTP, and repeats those that may be repeated, within a time that is bounded."""

import asyncio
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.request import getproxies

import aiohttp
import orjson
from yarl import URL

from service.client.errors import ReleaseError, strange_answer, unreachable
from service.client.retries import Call, is_cut, may_repeat, pause_before, retry_after_of
from service.core.proxies import proxy_for

_REFUSED = 400
_NOT_MODIFIED = 304
_DONE = range(200, 300)
_CONNECT_SECONDS = 10.0
#: Nothing was written.
_NOT_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientProxyConnectionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_unchanged(self) -> bool:
        """Whether it says that what the caller has is still right."""
        return self.status == _NOT_MODIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lost:
    """No answer came."""

    reason: str
    #: Whether the call may have reached the service.
    may_have_come: bool
    #: Whether asking again can help.
    is_of_a_moment: bool = True


class WaitCutError(Exception):
    """Somebody on the way has cut a call that waits."""


class Transport:
    """Calls of one service with one key; opens connections when they are needed."""

    def __init__(self, url: str, api_key: str | None, *, timeout: float, retry_for: float) -> None:
        self.url = url.rstrip("/")
        self._base = _checked(self.url)
        self._headers = {"Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout = timeout
        self._retry_for = retry_for
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close the connections."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def ask(self, call: Call) -> Answer:
        """Make a call until there is an answer that counts, or the time for repeats is up.

        Raises:
            ReleaseError: the service refuses, or there is no answer of it.
            WaitCutError: a call that waits was cut; how it stands is better asked without waiting.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._retry_for
        repeat = 0
        while True:
            outcome = await self._once(call)
            if isinstance(outcome, Answer):
                return outcome
            error, is_passing = outcome
            repeat += 1
            pause = pause_before(repeat, asked=error.retry_after, draw=random.random())  # noqa: S311 - no secret
            if not is_passing or loop.time() + pause > give_up_at:
                raise error
            await asyncio.sleep(pause)

    async def ask_json(self, call: Call) -> Any:  # noqa: ANN401 - any JSON
        """Make a call and return the JSON of its answer.

        Raises:
            ReleaseError, WaitCutError: as of ``ask``.
        """
        return self.read(await self.ask(call))

    def read(self, answer: Answer) -> Any:  # noqa: ANN401 - any JSON
        """Return the JSON of an answer.

        Raises:
            ReleaseError: it is none.
        """
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            raise strange_answer(self.url, "something that is not JSON", status=answer.status) from None

    async def _once(self, call: Call) -> Answer | tuple[ReleaseError, bool]:
        """Make a call once: an answer that counts, or what is wrong and whether that is of a moment."""
        reply = await self._send(call)
        if isinstance(reply, _Lost):
            if call.wait and reply.may_have_come:
                raise WaitCutError
            is_passing = reply.is_of_a_moment and (call.is_repeatable or not reply.may_have_come)
            return unreachable(self.url, reply.reason), is_passing
        if reply.status in _DONE or reply.is_unchanged:
            return reply
        if call.wait and is_cut(reply.status):
            raise WaitCutError
        error = self._refusal(reply)
        return error, may_repeat(reply.status, error.code, is_repeatable=call.is_repeatable)

    async def _send(self, call: Call) -> Answer | _Lost:
        url = self._base.with_path(self._base.path.rstrip("/") + call.path, encoded=True).with_query(
            call.query
        )
        try:
            async with self._session_for(call).request(
                call.method,
                url,
                data=call.body,
                headers={**call.headers, **_type_of(call.body)},
                proxy=proxy_for(url, getproxies()),
                allow_redirects=False,
                timeout=self._time_for(call),
            ) as response:
                body = await response.read()
                return Answer(status=response.status, headers=response.headers, body=body)
        except _NOT_CONNECTED as error:
            is_of_a_moment = not isinstance(error, aiohttp.ClientSSLError)
            return _Lost(reason=_words_of(error), may_have_come=False, is_of_a_moment=is_of_a_moment)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return _Lost(reason=_words_of(error), may_have_come=True)

    def _session_for(self, call: Call) -> aiohttp.ClientSession:
        """Return kept connections, or a new one: a kept one may be closed just as a call is sent that is sent once."""
        is_kept = call.is_repeatable
        if is_kept not in self._sessions:
            # A cookie of an intermediary is none of ours, and nothing here needs one.
            self._sessions[is_kept] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=not is_kept),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._sessions[is_kept]

    def _time_for(self, call: Call) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self._timeout + call.wait, sock_connect=_CONNECT_SECONDS)

    def _refusal(self, answer: Answer) -> ReleaseError:
        if answer.headers.get("Content-Type", "").partition(";")[0] != "application/problem+json":
            return self._not_of_the_service(answer)
        problem = self.read(answer)
        return ReleaseError(problem, retry_after=retry_after_of(answer.headers))

    def _not_of_the_service(self, answer: Answer) -> ReleaseError:
        what = f"HTTP {answer.status}"
        if answer.status < _REFUSED:
            what += f", which leads to {answer.headers.get('Location', 'nowhere')!r}"
        after = retry_after_of(answer.headers)
        return strange_answer(self.url, what, status=answer.status, retry_after=after)


def _checked(url: str) -> URL:
    try:
        base = URL(url)
    except ValueError:
        base = URL()
    if base.scheme not in ("http", "https") or not base.host or base.query or base.fragment or base.user:
        raise ValueError(f"expected an address such as http://127.0.0.1:8080; given {url!r}")
    return base


def _type_of(body: bytes | None) -> dict[str, str]:
    return {} if body is None else {"Content-Type": "application/json"}


def _words_of(error: BaseException) -> str:
    """Say what happened, where the error says nothing itself."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        number = error.os_error.errno
        return (os.strerror(number) if number > 0 else str(error.os_error.strerror)).lower()
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
