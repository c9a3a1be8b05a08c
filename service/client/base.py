"""What all calls of the client share: reading answers, walking through pages, acting."""

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import orjson

from service.client.errors import strange_answer
from service.client.reading import Resource
from service.client.retries import Call
from service.client.transport import Transport

R = TypeVar("R", bound=Resource)


class Caller:
    """Makes calls and reads their answers."""

    _transport: Transport

    async def _get(self, resource: type[R], path: str) -> R:
        return self._read(resource, await self._transport.ask_json(Call(method="GET", path=path)))

    async def _act(
        self,
        resource: type[R],
        path: str,
        members: Mapping[str, Any],
        *,
        method: str = "POST",
        is_repeatable: bool = True,
    ) -> R:
        """Send the members that are given, and read what is answered."""
        body = orjson.dumps({name: value for name, value in members.items() if value is not None})
        call = Call(method=method, path=path, body=body, is_repeatable=is_repeatable)
        return self._read(resource, await self._transport.ask_json(call))

    def _read(self, resource: type[R], document: Any) -> R:  # noqa: ANN401 - any JSON
        try:
            return resource.read(document)
        except (TypeError, AttributeError):
            raise strange_answer(self._transport.url, f"JSON that is no {resource.__name__}") from None

    def _read_all(self, resource: type[R], document: Any, name: str) -> list[R]:  # noqa: ANN401 - any JSON
        rows = document.get(name) if isinstance(document, dict) else None
        if not isinstance(rows, list):
            raise strange_answer(self._transport.url, f"JSON without {name}")
        return [self._read(resource, row) for row in rows]


async def page_after_page(
    transport: Transport, path: str, query: tuple[tuple[str, str], ...]
) -> AsyncGenerator[Any, None]:
    """Yield the entries of a list, whatever the member is called that has them.

    Raises:
        ReleaseError: a filter is wrong, or no answer came.
    """
    token = ""
    while True:
        page = await transport.ask_json(
            Call(method="GET", path=path, query=(*query, *((("page_token", token),) if token else ())))
        )
        rows, token = _page_of(transport.url, page)
        for row in rows:
            yield row
        if not token:
            return


def path_of(start: str, *parts: str) -> str:
    """Return the path of a resource; whatever is given for an id stays one part of it."""
    return "/".join((start, *(quote(part, safe="") for part in parts)))


def query_of(members: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the members that are given as a query; times as RFC 3339 says."""
    return tuple((name, _text_of(value)) for name, value in members.items() if value is not None)


def _text_of(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _page_of(url: str, page: Any) -> tuple[list[Any], str]:  # noqa: ANN401 - any JSON
    lists = [value for value in page.values() if isinstance(value, list)] if isinstance(page, dict) else []
    if not lists:
        raise strange_answer(url, "JSON that is no page of a list")
    return lists[0], page.get("next_page_token") or ""
