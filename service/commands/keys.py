"""Creates, lists and ends API keys and access keys by command."""

import getpass
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from service.commands.database import open_database
from service.commands.output import Table
from service.core.config import Settings
from service.core.errors import ConfigurationError
from service.core.key_orders import BadOrder, KeyOrder, flaw_of
from service.core.sealing import NO_SEALING_KEY, sealing_key_of
from service.flow import api_keys as flow
from service.flow.api_keys import AlreadyMade, Author, CreatedAccessKey, CreatedKey
from service.gateways.store import api_keys
from service.gateways.store.api_keys import ApiKey

Created = TypeVar("Created", CreatedKey, CreatedAccessKey)
#: The options that give the members of an order.
_OPTIONS = {
    "name": "--name",
    "scopes": "--scope",
    "workspaces": "--workspace",
    "apply_user_ids": "--apply-user",
}


async def create_ordered(settings: Settings, order: KeyOrder) -> CreatedKey | CreatedAccessKey:
    """Create the API key or the access key that was ordered.

    Raises:
        ConfigurationError: the order is not of the form that is taken, or a setting that it needs is missing.
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    database_url = settings.require_database()
    if not order.is_access_key:
        return await create_api_key(database_url, order)
    if settings.secret_key is None:
        raise ConfigurationError(NO_SEALING_KEY)
    return await create_access_key(database_url, order, sealing_key=sealing_key_of(settings.secret_key))


async def create_key(
    database_url: str,
    *,
    name: str,
    scopes: Sequence[str],
    workspaces: Sequence[str],
    expires_in: timedelta | None = None,
) -> CreatedKey:
    """Create an API key that may apply for anybody.

    Raises:
        ConfigurationError, DatabaseUnavailable, MigrationError: as of ``create_ordered``.
    """
    order = KeyOrder(name=name, scopes=scopes, workspaces=workspaces, expires_in=expires_in)
    return await create_api_key(database_url, order)


async def create_api_key(database_url: str, order: KeyOrder) -> CreatedKey:
    """Create an API key.

    Raises:
        ConfigurationError, DatabaseUnavailable, MigrationError: as of ``create_ordered``.
    """
    _check(order)
    async with open_database(database_url) as database:
        return _made(await flow.create_api_key(database, order, _author()))


async def create_access_key(database_url: str, order: KeyOrder, *, sealing_key: bytes) -> CreatedAccessKey:
    """Create an access key; its secret is sealed with the key of the settings.

    Raises:
        ConfigurationError, DatabaseUnavailable, MigrationError: as of ``create_ordered``.
    """
    _check(order)
    async with open_database(database_url) as database:
        return _made(await flow.create_access_key(database, order, _author(), sealing_key=sealing_key))


def _check(order: KeyOrder) -> None:
    flaw = flaw_of(order)
    if flaw is not None:
        raise _refused(flaw)


def _refused(flaw: BadOrder) -> ConfigurationError:
    return ConfigurationError(f"{_OPTIONS[flaw.member]}: expected {flaw.expected}; given {flaw.given!r}")


def _made(outcome: Created | BadOrder | AlreadyMade) -> Created:
    match outcome:
        case BadOrder():
            raise _refused(outcome)
        case AlreadyMade():
            raise AssertionError("an order without an id is a new one each time")
        case _:
            return outcome


async def list_keys(database_url: str) -> Sequence[ApiKey]:
    """Return all keys, the oldest first.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    async with open_database(database_url) as database, database.connection() as connection:
        return await api_keys.list_keys(connection)


def keys_table(kept: Sequence[ApiKey]) -> Table:
    """Put keys into a table."""
    columns = (
        "id",
        "name",
        "scopes",
        "workspaces",
        "apply_user_ids",
        "access_key",
        "created_at",
        "expires_at",
        "revoked_at",
    )
    rows = [(str(key.key_id), *(getattr(key, column) for column in columns[1:])) for key in kept]
    return Table(columns=columns, rows=rows)


async def revoke_key(database_url: str, key_id: UUID) -> bool:
    """End a key; False where no live key has this id.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
        MigrationError: the schema is not there, or behind.
    """
    async with open_database(database_url) as database:
        return await flow.revoke_key(database, key_id, _author())


def _author() -> Author:
    return Author(name=f"command line, {getpass.getuser()}")
