"""Creates, lists and ends API keys and access keys; each change is in the audit trail."""

import getpass
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from service.commands.database import open_database
from service.commands.output import Table
from service.core.api_key import digest_of, new_access_key, new_api_key
from service.core.audit_trail import AuditEntry
from service.core.config import Settings
from service.core.errors import ConfigurationError
from service.core.identifiers import is_identifier
from service.core.ids import new_id
from service.core.sealing import NO_SEALING_KEY, seal, sealing_key_of
from service.core.signing import AccessKey
from service.gateways.store import api_keys, audit_log
from service.gateways.store.api_keys import ApiKey, Proof
from service.gateways.store.database import Connection

_MAX_NAME = 100
_WORKSPACE_PATTERN = re.compile(r"\*|[A-Za-z0-9_.:*-]{1,64}/[A-Za-z0-9_.:*-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOrder:
    """What a new key shall be called, and what it may do."""

    name: str
    scopes: Sequence[str]
    workspaces: Sequence[str]
    #: Empty where it may apply for anybody.
    apply_user_ids: Sequence[str] = ()
    expires_in: timedelta | None = None
    is_access_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    """A new API key; the only time that the key itself is known."""

    kept: ApiKey
    api_key: str

    @property
    def shown(self) -> dict[str, Any]:
        """The members that are shown to its owner, once."""
        return {"id": str(self.kept.key_id), **_rights_of(self.kept), "key": self.api_key}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedAccessKey:
    """A new access key; the only time that its secret is shown."""

    kept: ApiKey
    pair: AccessKey

    @property
    def shown(self) -> dict[str, Any]:
        """The members that are shown to its owner, once."""
        pair = {"access_key": self.pair.access_key, "secret_key": self.pair.secret_key}
        return {"id": str(self.kept.key_id), **_rights_of(self.kept), **pair}


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
    api_key = new_api_key()
    kept = _kept(order, access_key=None)
    await _keep(database_url, kept, proof=Proof(key_sha256=digest_of(api_key)))
    return CreatedKey(kept=kept, api_key=api_key)


async def create_access_key(database_url: str, order: KeyOrder, *, sealing_key: bytes) -> CreatedAccessKey:
    """Create an access key; its secret is sealed with the key of the settings.

    Raises:
        ConfigurationError, DatabaseUnavailable, MigrationError: as of ``create_ordered``.
    """
    pair = new_access_key()
    kept = _kept(order, access_key=pair.access_key)
    sealed = seal(pair.secret_key, key=sealing_key, bound_to=pair.access_key)
    await _keep(database_url, kept, proof=Proof(sealed_secret=sealed))
    return CreatedAccessKey(kept=kept, pair=pair)


async def _keep(database_url: str, kept: ApiKey, *, proof: Proof) -> None:
    async def work(connection: Connection) -> None:
        await api_keys.add_key(connection, kept, proof=proof)
        await audit_log.record(connection, _entry("key.created", kept, after=_rights_of(kept)))

    async with open_database(database_url) as database:
        await database.transact(work)


def _kept(order: KeyOrder, *, access_key: str | None) -> ApiKey:
    _check(order)
    created_at = datetime.now(UTC)
    return ApiKey(
        key_id=new_id(),
        name=order.name,
        scopes=tuple(order.scopes),
        workspaces=tuple(order.workspaces),
        apply_user_ids=tuple(order.apply_user_ids),
        access_key=access_key,
        created_at=created_at,
        expires_at=None if order.expires_in is None else created_at + order.expires_in,
        revoked_at=None,
    )


def _check(order: KeyOrder) -> None:
    if not (1 <= len(order.name) <= _MAX_NAME and order.name.isprintable()):
        raise ConfigurationError(
            f"--name: expected 1 to {_MAX_NAME} printable characters; given {order.name[:_MAX_NAME]!r}"
        )
    for pattern in order.workspaces:
        # A pattern without a project would match nothing, and say nothing.
        if _WORKSPACE_PATTERN.fullmatch(pattern) is None:
            raise ConfigurationError(
                f"--workspace: expected PROJECT/WORKSPACE, where * stands for any text; given {pattern!r}"
            )
    for user_id in order.apply_user_ids:
        if not is_identifier(user_id):
            raise ConfigurationError(
                f"--apply-user: expected 1 to 64 of the characters A-Za-z0-9_.:-; given {user_id!r}"
            )


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

    async def work(connection: Connection) -> bool:
        revoked = await api_keys.revoke_key(connection, key_id)
        if revoked is None:
            return False
        await audit_log.record(connection, _entry("key.revoked", revoked, before=_rights_of(revoked)))
        return True

    async with open_database(database_url) as database:
        return await database.transact(work)


def _rights_of(key: ApiKey) -> dict[str, Any]:
    rights: dict[str, Any] = {
        "name": key.name,
        "scopes": list(key.scopes),
        "workspaces": list(key.workspaces),
    }
    if key.apply_user_ids:
        rights["apply_user_ids"] = list(key.apply_user_ids)
    return rights


def _entry(
    action: str, key: ApiKey, *, before: dict[str, Any] | None = None, after: dict[str, Any] | None = None
) -> AuditEntry:
    return AuditEntry(
        actor=f"command line, {getpass.getuser()}",
        action=action,
        target=str(key.key_id),
        project_id=None,
        workspace=None,
        reason=None,
        before=before,
        after=after,
        http_request_id=None,
    )
