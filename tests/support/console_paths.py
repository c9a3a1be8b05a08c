"""Addresses of the console over a database that ``grown`` and ``kept`` have filled: every page, with every filter."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import asyncpg

from service.doors.paging import Page

#: The workspaces of keys: all, two, and those whose names match a pattern.
CALLERS: Mapping[str, Sequence[str]] = MappingProxyType(
    {"admin": ("*",), "of two": ("project/ws-1", "project/ws-2"), "of a pattern": ("*/ws-1*",)}
)
_STATES = (
    "accepted",
    "releasing",
    "batched",
    "in_doubt",
    "needs_attention",
    "released",
    "rejected",
    "expired",
)
_FILTERS = (
    "workspace=ws-1",
    "workspace=none",
    "project_id=project",
    "project_id=none",
    "item=10000017",
    "item=none",
    "label=run%3Drun-16",
    "label=run%3Dnone",
    "error_code=DLF.3051",
    "error_code=none",
    "idempotency_key=none",
    "created_before=2020-01-01T00%3A00%3A00Z",
    "workspace=ws-1&state=rejected&error_code=none",
    "workspace=ws-1&label=run%3Dnone&state=released",
)
_LISTS = (
    "/",
    "/requests",
    *(f"/requests?state={state}" for state in _STATES),
    *(f"/requests?{filters}" for filters in _FILTERS),
    "/batches",
    "/batches?state=failed",
    "/batches?workspace=none",
    "/attention",
    "/workspaces",
    "/workspaces?name=none",
    "/workers",
)
_FOR_ADMINS = (
    "/workspaces/project/ws-1",
    "/operations",
    "/operations/new?action=cancel&workspace=ws-1",
    "/operations/new?action=retry&project_id=project",
    "/operations/new?action=retry&label=run%3Dnone",
    "/audit",
    "/audit?action=key.created",
    "/audit?action=none",
    "/audit?target=none",
    "/keys",
    "/keys/new",
    "/about",
)
#: Pages of one thing, by how it is found.
_OF_ONE: Mapping[str, str] = MappingProxyType(
    {
        "/requests/{}": "SELECT id FROM release_requests WHERE state = 'released' ORDER BY id DESC LIMIT 1",
        "/batches/{}": "SELECT id FROM batches WHERE state = 'released' ORDER BY id DESC LIMIT 1",
        "/operations/{}": "SELECT id FROM operations ORDER BY id LIMIT 1",
        "/keys/{}/revoke": "SELECT id FROM api_keys ORDER BY id LIMIT 1",
    }
)
#: The fiftieth row from the end of a list, as the list's tokens have it.
_LAST: Mapping[str, str] = MappingProxyType(
    {
        "/requests": "SELECT created_at, id FROM release_requests ORDER BY created_at, id OFFSET 50 LIMIT 1",
        "/batches": "SELECT id FROM batches ORDER BY id OFFSET 50 LIMIT 1",
        "/audit": "SELECT id FROM audit_log ORDER BY id OFFSET 50 LIMIT 1",
        "/operations": "SELECT id FROM operations ORDER BY id OFFSET 50 LIMIT 1",
    }
)
_TICKED = "SELECT id FROM release_requests WHERE state = $1 ORDER BY id LIMIT 50"


async def paths_of(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, tuple[str, ...]]:
    """Return what each of the callers may ask for; the last page of a list is the one with a token."""
    ticked = [
        f"/requests/ticked{page}&"
        + "&".join(f"{name}={row['id']}" for row in await connection.fetch(_TICKED, state))
        for page, name, state in (
            ("?action=cancel", "id", "accepted"),
            ("?action=retry", "id", "failed"),
            ("/result?action=retry", "left", "rejected"),
        )
    ]
    of_one = [path.format(await connection.fetchval(query)) for path, query in _OF_ONE.items()]
    last = [_behind(path, await connection.fetchrow(query)) for path, query in _LAST.items()]
    return {
        "admin": (*_LISTS, *_FOR_ADMINS, *of_one, *ticked, *last),
        "of two": _LISTS,
        "of a pattern": _LISTS,
    }


def _behind(path: str, row: asyncpg.Record | None) -> str:
    if row is None:
        raise ValueError(f"{path} has no second page")
    position = [value.isoformat() if name == "created_at" else str(value) for name, value in row.items()]
    token = Page(size=50, filters={"": path}, position=None).token_behind(*position)
    return f"{path}?page_token={token}"
