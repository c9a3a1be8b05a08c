"""Creates, lists and ends API keys."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.commands.database import open_database
from service.core.api_key import digest_of, new_api_key
from service.core.errors import ConfigurationError
from service.core.ids import new_id
from service.gateways.store import api_keys
from service.gateways.store.api_keys import ApiKey

_MAX_NAME = 100
_WORKSPACE_PATTERN = re.compile(r"\*|[A-Za-z0-9_.:*-]{1,64}/[A-Za-z0-9_.:*-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    """A new key; the only time that the key itself is known."""

    kept: ApiKey
    api_key: str


async def create_key(
    database_url: str,
    *,
    name: str,
    scopes: Sequence[str],
    workspaces: Sequence[str],
    expires_in: timedelta | None = None,
) -> CreatedKey:
    """Create a key.

    Raises:
        ConfigurationError: the name or a workspace is not of the form that is taken.
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    _check_name(name)
    for workspace in workspaces:
        _check_workspace(workspace)
    created_at = datetime.now(UTC)
    kept = ApiKey(
        key_id=new_id(),
        name=name,
        scopes=tuple(scopes),
        workspaces=tuple(workspaces),
        created_at=created_at,
        expires_at=None if expires_in is None else created_at + expires_in,
        revoked_at=None,
    )
    api_key = new_api_key()
    async with open_database(database_url) as database, database.connection() as connection:
        await api_keys.add_key(connection, kept, key_sha256=digest_of(api_key))
    return CreatedKey(kept=kept, api_key=api_key)


def _check_name(name: str) -> None:
    if not (1 <= len(name) <= _MAX_NAME and name.isprintable()):
        raise ConfigurationError(
            f"--name: expected 1 to {_MAX_NAME} printable characters; given {name[:_MAX_NAME]!r}"
        )


def _check_workspace(pattern: str) -> None:
    """A pattern without a project would match nothing, and say nothing."""
    if _WORKSPACE_PATTERN.fullmatch(pattern) is None:
        raise ConfigurationError(
            f"--workspace: expected PROJECT/WORKSPACE, where * stands for any text; given {pattern!r}"
        )


async def list_keys(database_url: str) -> Sequence[ApiKey]:
    """Return all keys, the oldest first.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    async with open_database(database_url) as database, database.connection() as connection:
        return await api_keys.list_keys(connection)


async def revoke_key(database_url: str, key_id: UUID) -> bool:
    """End a key; False where no live key has this id.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    async with open_database(database_url) as database, database.connection() as connection:
        return await api_keys.revoke_key(connection, key_id)
