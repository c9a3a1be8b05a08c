"""Finds the access key that signed a call, with its secret.

Takes: the access key that a call names.
Leaves: nothing.
If it dies here: the caller asks again.
"""

import re
from dataclasses import dataclass, field

import structlog

from service.core.errors import ConfigurationError, SecretUnreadable
from service.core.sealing import NO_SEALING_KEY, open_sealed
from service.core.telemetry import LogEvent
from service.gateways.store import api_keys
from service.gateways.store.api_keys import ApiKey, SealedKey
from service.gateways.store.database import Connection, Database

_FORM = re.compile(r"REL[A-Z0-9]{17}")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedKey:
    """A live access key with its secret."""

    key: ApiKey
    secret_key: str = field(repr=False)


class AccessKeys:
    """The access keys of this deployment."""

    def __init__(self, database: Database, *, sealing_key: bytes | None) -> None:
        self._database = database
        self._sealing_key = sealing_key

    async def check(self) -> None:
        """Check that secrets can be opened, where there are any.

        Raises:
            ConfigurationError: there are, and they cannot.
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        async with self._database.connection() as connection:
            newest = await api_keys.newest_access_key(connection)
        if newest is None:
            return
        if self._sealing_key is None:
            raise ConfigurationError(NO_SEALING_KEY)
        if self._open(newest) is None:
            raise ConfigurationError(
                f"RELEASE_SECRET_KEY: expected the key that the secret of access key {newest.access_key} is "
                "sealed with; given another"
            )

    @staticmethod
    def is_name(access_key: str) -> bool:
        """Tell whether an access key may have this name; what may not need not be looked up."""
        return _FORM.fullmatch(access_key) is not None

    async def find(self, access_key: str) -> OpenedKey | None:
        """Return the live access key of this name; None where there is none.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
            SecretUnreadable: there is one, and its secret does not open.
        """

        async def work(connection: Connection) -> SealedKey | None:
            return await api_keys.find_live_access_key(connection, access_key)

        sealed = await self._database.read(work)
        if sealed is None:
            return None
        secret_key = self._open(sealed)
        if secret_key is None:
            log.error(LogEvent.UNSEALING_FAILED, access_key=access_key)
            raise SecretUnreadable
        return OpenedKey(key=sealed.key, secret_key=secret_key)

    def _open(self, sealed: SealedKey) -> str | None:
        if self._sealing_key is None:
            return None
        return open_sealed(sealed.sealed_secret, key=self._sealing_key, bound_to=sealed.access_key)
