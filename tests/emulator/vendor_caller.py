"""Calls the emulator as a client of the vendor does: signed, over HTTP, answers taken apart."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import count
from typing import Any

import aiohttp
from yarl import URL

from service.core.signing import AccessKey, Signable, canonical_query, format_date, sign
from service.emulator.config import DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID

#: Whatever JSON holds.
Json = Any

PROJECT = DEFAULT_PROJECT_ID
WORKSPACE = "ws-of-the-tests"
KEY = AccessKey(access_key=DEFAULT_ACCESS_KEY, secret_key="emulator-secret-key-0001")
FACTORY = f"/v2/{PROJECT}/factory"
CREATE = f"{FACTORY}/pending-items/package"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        """The body, read."""
        return json.loads(self.body)

    @property
    def error_code(self) -> str | None:
        """The vendor's code, if the answer is an error of the vendor."""
        code: str | None = self.json.get("error_code") if self.body else None
        return code


def application(*items: str, **changes: object) -> dict[str, object]:
    """Return the body of a create call."""
    body: dict[str, object] = {
        "apply_user_id": "f8ccc2ff3c7748e8a7bfede38ae1cffa",
        "package_name": f"package_of_{'_'.join(items)}"[:100],
        "pending_item_list": list(items),
        "approver_ids": ["7b71e498e75d44048c9a22dd3c54f978"],
    }
    return {**body, **changes}


class VendorCaller:
    """Signs and sends calls; ``key`` None sends none of the signature."""

    def __init__(
        self,
        url: str,
        *,
        key: AccessKey | None = KEY,
        skew: timedelta = timedelta(),
        workspace: str | None = WORKSPACE,
    ) -> None:
        self._url = url
        self._key = key
        self._skew = skew
        self._workspace = workspace

    async def create(self, *items: str, **changes: object) -> Reply:
        """Make a package."""
        return await self.send("POST", CREATE, body=application(*items, **changes))

    async def list_packages(self, **members: object) -> Json:
        """List packages; return the answer's document."""
        return (await self.send("POST", f"{FACTORY}/release-packages", body=members)).json

    async def list_pending_items(self, **query: str) -> Json:
        """List pending items; return the answer's document."""
        pairs = list(query.items())
        return (await self.send("GET", f"{FACTORY}/pending-items", query=pairs)).json

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | bytes | None = None,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str | None] | None = None,
    ) -> Reply:
        """Send a call; a header given as None is left out, and all others are signed."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        signed = self.signed(method, path, data, query=query, headers=headers or {})
        text = canonical_query(query)
        url = URL(f"{self._url}{path}?{text}" if text else self._url + path, encoded=True)
        return await exchange(method, url, headers=signed, data=data)

    def signed(
        self,
        method: str,
        path: str,
        data: bytes,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str | None] | None = None,
    ) -> dict[str, str]:
        """Return the headers of a call, the signature among them."""
        signed = self._headers(headers or {})
        if self._key is not None:
            signable = Signable(method=method, path=path, query=query, headers=signed, body=data)
            signed["Authorization"] = sign(signable, self._key)
        return signed

    def _headers(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        headers: dict[str, str | None] = {
            "Host": self._url.partition("//")[2],
            "X-Sdk-Date": format_date(datetime.now(UTC) + self._skew),
            "Content-Type": "application/json;charset=utf-8",
            "X-Project-Id": PROJECT,
            "workspace": self._workspace,
            **changes,
        }
        return {name: value for name, value in headers.items() if value is not None}


async def exchange(method: str, url: URL, *, headers: Mapping[str, str], data: bytes) -> Reply:
    """Send exactly this and read the answer to its end."""
    skipped = {"Content-Type"} - set(headers)
    async with (
        aiohttp.ClientSession(skip_auto_headers=skipped) as session,
        session.request(method, url, headers=headers, data=BytesIO(data), allow_redirects=False) as response,
    ):
        return Reply(status=response.status, headers=response.headers, body=await response.read())


async def create_many(caller: VendorCaller, number: int, *, at_once: int = 8) -> list[int]:
    """Make that many packages of an item each, some at once; return the statuses."""
    numbers = count()
    statuses: list[int] = []

    async def work() -> None:
        while (item := next(numbers)) < number:
            statuses.append((await caller.create(f"many-{item}")).status)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return statuses
