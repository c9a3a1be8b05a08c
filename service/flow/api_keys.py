"""Creates and ends API keys and access keys.

Takes: what a new key shall be, or the id of one that shall end, and who says so.
Leaves: the key, kept by its hash or sealed, and an entry of the audit trail, in one transaction.
If it dies here: nothing was changed, or all of it. A key whose answer was lost is of use to nobody.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.core.api_key import digest_of, new_access_key, new_api_key
from service.core.audit_trail import AuditEntry
from service.core.ids import new_id
from service.core.key_orders import BadOrder, KeyOrder, flaw_of
from service.core.sealing import seal
from service.core.signing import AccessKey
from service.gateways.store import api_keys, audit_log
from service.gateways.store.api_keys import ApiKey, Proof
from service.gateways.store.database import Connection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who makes or ends a key, and why."""

    name: str
    reason: str | None = None
    http_request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    """A new API key; the only time that the key itself is known."""

    kept: ApiKey
    api_key: str = field(repr=False)

    @property
    def shown(self) -> dict[str, Any]:
        """The members that are shown to its owner, once."""
        return {"id": str(self.kept.key_id), **rights_of(self.kept), "key": self.api_key}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedAccessKey:
    """A new access key; the only time that its secret is shown."""

    kept: ApiKey
    pair: AccessKey

    @property
    def shown(self) -> dict[str, Any]:
        """The members that are shown to its owner, once."""
        pair = {"access_key": self.pair.access_key, "secret_key": self.pair.secret_key}
        return {"id": str(self.kept.key_id), **rights_of(self.kept), **pair}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyMade:
    """The order came before; its key was shown then."""


async def create_api_key(
    database: Database, order: KeyOrder, author: Author
) -> CreatedKey | BadOrder | AlreadyMade:
    """Create an API key.

    Raises:
        DatabaseUnavailable: it is not known whether it was created; nobody knows it, so it is of no use.
    """
    flaw = flaw_of(order)
    if flaw is not None:
        return flaw
    api_key = new_api_key()
    kept = _kept(order, access_key=None)
    is_new = await _keep(database, kept, author, proof=Proof(key_sha256=digest_of(api_key)))
    return CreatedKey(kept=kept, api_key=api_key) if is_new else AlreadyMade()


async def create_access_key(
    database: Database, order: KeyOrder, author: Author, *, sealing_key: bytes
) -> CreatedAccessKey | BadOrder | AlreadyMade:
    """Create an access key; its secret is sealed with the key of the settings.

    Raises:
        DatabaseUnavailable: as of ``create_api_key``.
    """
    flaw = flaw_of(order)
    if flaw is not None:
        return flaw
    pair = new_access_key()
    kept = _kept(order, access_key=pair.access_key)
    sealed = seal(pair.secret_key, key=sealing_key, bound_to=pair.access_key)
    is_new = await _keep(database, kept, author, proof=Proof(sealed_secret=sealed))
    return CreatedAccessKey(kept=kept, pair=pair) if is_new else AlreadyMade()


async def revoke_key(database: Database, key_id: UUID, author: Author) -> bool:
    """End a key; False where no live key has this id.

    Raises:
        DatabaseUnavailable: it is not known whether it has ended; asking again is safe.
    """

    async def work(connection: Connection) -> bool:
        revoked = await api_keys.revoke_key(connection, key_id)
        if revoked is None:
            return False
        await audit_log.record(connection, _entry("key.revoked", revoked, author, before=rights_of(revoked)))
        return True

    return await database.transact(work)


async def _keep(database: Database, kept: ApiKey, author: Author, *, proof: Proof) -> bool:
    async def work(connection: Connection) -> bool:
        if not await api_keys.add_key(connection, kept, proof=proof):
            return False
        await audit_log.record(connection, _entry("key.created", kept, author, after=rights_of(kept)))
        return True

    return await database.transact(work)


def _kept(order: KeyOrder, *, access_key: str | None) -> ApiKey:
    created_at = datetime.now(UTC)
    return ApiKey(
        key_id=order.key_id or new_id(),
        name=order.name,
        scopes=tuple(order.scopes),
        workspaces=tuple(order.workspaces),
        apply_user_ids=tuple(order.apply_user_ids),
        access_key=access_key,
        created_at=created_at,
        expires_at=None if order.expires_in is None else created_at + order.expires_in,
        revoked_at=None,
    )


def rights_of(key: ApiKey) -> dict[str, Any]:
    """Return what a key may do, as the audit trail has it."""
    rights: dict[str, Any] = {
        "name": key.name,
        "scopes": list(key.scopes),
        "workspaces": list(key.workspaces),
    }
    if key.apply_user_ids:
        rights["apply_user_ids"] = list(key.apply_user_ids)
    return rights


def _entry(
    action: str,
    key: ApiKey,
    author: Author,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEntry:
    return AuditEntry(
        actor=author.name,
        action=action,
        target=str(key.key_id),
        project_id=None,
        workspace=None,
        reason=author.reason,
        before=before,
        after=after,
        http_request_id=author.http_request_id,
    )
