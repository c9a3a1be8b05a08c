"""Keeps API keys by their hash, and finds the one that a caller shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from service.gateways.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is kept: everything but the key."""

    key_id: UUID
    name: str
    scopes: tuple[str, ...]
    workspaces: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


ADD_KEY: LiteralString = """
INSERT INTO api_keys (id, name, key_sha256, scopes, workspaces, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
"""


async def add_key(connection: Connection, key: ApiKey, *, key_sha256: bytes) -> None:
    """Keep a new key."""
    await connection.execute(
        ADD_KEY, key.key_id, key.name, key_sha256, list(key.scopes), list(key.workspaces), key.expires_at
    )


FIND_LIVE_KEY: LiteralString = """
SELECT id, name, scopes, workspaces, created_at, expires_at, revoked_at
FROM api_keys
WHERE key_sha256 = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


async def find_live_key(connection: Connection, key_sha256: bytes) -> ApiKey | None:
    """Return the live key with this hash, or None."""
    row = await connection.fetchrow(FIND_LIVE_KEY, key_sha256)
    return None if row is None else _key_from_row(dict(row))


LIST_KEYS: LiteralString = """
SELECT id, name, scopes, workspaces, created_at, expires_at, revoked_at FROM api_keys ORDER BY created_at, id
"""


async def list_keys(connection: Connection) -> Sequence[ApiKey]:
    """Return all keys, the oldest first."""
    return [_key_from_row(dict(row)) for row in await connection.fetch(LIST_KEYS)]


REVOKE_KEY: LiteralString = "UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL"


async def revoke_key(connection: Connection, key_id: UUID) -> bool:
    """End a key; return False where no live key has this id."""
    return await connection.execute(REVOKE_KEY, key_id) == "UPDATE 1"


def _key_from_row(row: dict[str, Any]) -> ApiKey:
    row["key_id"] = row.pop("id")
    row["scopes"] = tuple(row["scopes"])
    row["workspaces"] = tuple(row["workspaces"])
    return ApiKey(**row)
