"""Waits for changes of one resource, by calls that the service holds back where these come through."""

import asyncio
from typing import Any

from service.client.polling import Polling
from service.client.retries import Call
from service.client.transport import Answer, Transport, WaitCutError


class Watch:
    """Sees the changes of the resource at a path; ``look`` comes first."""

    def __init__(self, transport: Transport, path: str) -> None:
        self._transport = transport
        self._path = path
        self._polling = Polling()
        self._etag = ""
        self._seen: Any = None

    async def look(self) -> Any:  # noqa: ANN401 - any JSON
        """Return the resource as it stands.

        Raises:
            ReleaseError: there is none that the key may see, or the service stays away.
        """
        return self._learn(await self._transport.ask(Call(method="GET", path=self._path)))

    async def next_change(self) -> Any:  # noqa: ANN401 - any JSON
        """Return the resource when it has changed, however long that takes.

        Raises:
            ReleaseError: it is gone, or the service stays away.
        """
        loop = asyncio.get_running_loop()
        before = self._seen
        while True:
            await asyncio.sleep(self._polling.rest)
            asked_at = loop.time()
            try:
                answer = await self._transport.ask(self._call())
            except WaitCutError:
                self._polling = self._polling.after_cut()
                continue
            is_news = not answer.is_unchanged and self._learn(answer) != before
            self._polling = self._polling.after_answer(is_news=is_news, took=loop.time() - asked_at)
            if is_news:
                return self._seen

    def _call(self) -> Call:
        wait = self._polling.wait
        return Call(
            method="GET",
            path=self._path,
            query=(("wait", str(wait)),) if wait else (),
            headers={"If-None-Match": self._etag} if self._etag else {},
            wait=wait,
        )

    def _learn(self, answer: Answer) -> Any:  # noqa: ANN401 - any JSON
        self._etag = answer.headers.get("ETag", "")
        self._seen = self._transport.read(answer)
        return self._seen
