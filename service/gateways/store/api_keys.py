"""Keeps API keys by their hash and access keys by their name, and finds the one that a caller shows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    #: The applicants that it may apply for; empty where for anybody.
    apply_user_ids: tuple[str, ...] = ()
    #: The public half of an access key.
    access_key: str | None = None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a key is recognised by: the hash of an API key, or the sealed secret of an access key."""

    key_sha256: bytes | None = None
    sealed_secret: bytes | None = field(default=None, repr=False)


ADD_KEY: LiteralString = """
INSERT INTO api_keys (
    id, name, key_sha256, scopes, workspaces, expires_at, apply_user_ids, access_key, sealed_secret
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO NOTHING
"""


async def add_key(connection: Connection, key: ApiKey, *, proof: Proof) -> bool:
    """Keep a new key; False where one of this id is kept already."""
    done = await connection.execute(
        ADD_KEY,
        key.key_id,
        key.name,
        proof.key_sha256,
        list(key.scopes),
        list(key.workspaces),
        key.expires_at,
        list(key.apply_user_ids) or None,
        key.access_key,
        proof.sealed_secret,
    )
    return bool(done == "INSERT 0 1")


FIND_LIVE_KEY: LiteralString = """
SELECT id, name, scopes, workspaces, apply_user_ids, access_key, created_at, expires_at, revoked_at
FROM api_keys
WHERE key_sha256 = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


async def find_live_key(connection: Connection, key_sha256: bytes) -> ApiKey | None:
    """Return the live key with this hash, or None."""
    row = await connection.fetchrow(FIND_LIVE_KEY, key_sha256)
    return None if row is None else key_from_row(dict(row))


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKey:
    """An access key with its secret, which is sealed."""

    key: ApiKey
    access_key: str
    sealed_secret: bytes = field(repr=False)


FIND_LIVE_ACCESS_KEY: LiteralString = """
SELECT id, name, scopes, workspaces, apply_user_ids, access_key, created_at, expires_at, revoked_at, sealed_secret
FROM api_keys
WHERE access_key = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


async def find_live_access_key(connection: Connection, access_key: str) -> SealedKey | None:
    """Return the live access key of this name, or None."""
    row = await connection.fetchrow(FIND_LIVE_ACCESS_KEY, access_key)
    return None if row is None else _sealed_from_row(dict(row))


# Any of them tells whether the settings have the key that the secrets are sealed with; the newest is the likeliest.
NEWEST_ACCESS_KEY: LiteralString = """
SELECT id, name, scopes, workspaces, apply_user_ids, access_key, created_at, expires_at, revoked_at, sealed_secret
FROM api_keys
WHERE access_key IS NOT NULL AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
ORDER BY created_at DESC
LIMIT 1
"""


async def newest_access_key(connection: Connection) -> SealedKey | None:
    """Return the access key that was made last of those that live, or None where there is none."""
    row = await connection.fetchrow(NEWEST_ACCESS_KEY)
    return None if row is None else _sealed_from_row(dict(row))


LIST_KEYS: LiteralString = """
SELECT id, name, scopes, workspaces, apply_user_ids, access_key, created_at, expires_at, revoked_at
FROM api_keys
ORDER BY created_at, id
"""


async def list_keys(connection: Connection) -> Sequence[ApiKey]:
    """Return all keys, the oldest first."""
    return [key_from_row(dict(row)) for row in await connection.fetch(LIST_KEYS)]


#: On it every process hears that a key has ended.
REVOKED_CHANNEL = "api_key_revoked"

TELL_OF_REVOCATION: LiteralString = "SELECT pg_notify('api_key_revoked', '')"

REVOKE_KEY: LiteralString = """
UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL
RETURNING id, name, scopes, workspaces, apply_user_ids, access_key, created_at, expires_at, revoked_at
"""


async def revoke_key(connection: Connection, key_id: UUID) -> ApiKey | None:
    """End a key, tell all processes at the commit, and return it; None where no live key has this id."""
    row = await connection.fetchrow(REVOKE_KEY, key_id)
    if row is None:
        return None
    await connection.execute(TELL_OF_REVOCATION)
    return key_from_row(dict(row))


def _sealed_from_row(row: dict[str, Any]) -> SealedKey:
    sealed_secret = row.pop("sealed_secret")
    return SealedKey(key=key_from_row(row), access_key=row["access_key"], sealed_secret=sealed_secret)


def key_from_row(row: dict[str, Any]) -> ApiKey:
    """Read the columns of a key."""
    row["key_id"] = row.pop("id")
    row["scopes"] = tuple(row["scopes"])
    row["workspaces"] = tuple(row["workspaces"])
    row["apply_user_ids"] = tuple(row["apply_user_ids"] or ())
    return ApiKey(**row)
