"""Keeps who is logged in at the console: sessions by the hash of their cookie, each of one API key."""

from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from service.gateways.store.api_keys import ApiKey, key_from_row
from service.gateways.store.database import Connection

ADD_SESSION: LiteralString = """
INSERT INTO console_sessions (token_sha256, key_id, expires_at) VALUES ($1, $2, now() + $3::interval)
"""

PRUNE_SESSIONS: LiteralString = """
DELETE FROM console_sessions
WHERE token_sha256 IN (SELECT token_sha256 FROM console_sessions WHERE expires_at <= now() LIMIT 1000)
"""


async def add_session(connection: Connection, token_sha256: bytes, *, key_id: UUID, lasts: timedelta) -> None:
    """Keep a new session, and drop some of those that are over."""
    await connection.execute(PRUNE_SESSIONS)
    await connection.execute(ADD_SESSION, token_sha256, key_id, lasts)


FIND_SESSION: LiteralString = """
SELECT
    k.id, k.name, k.scopes, k.workspaces, k.apply_user_ids, k.access_key, k.created_at, k.expires_at, k.revoked_at
FROM console_sessions AS s
JOIN api_keys AS k ON k.id = s.key_id
WHERE
    s.token_sha256 = $1 AND s.expires_at > now()
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
"""


async def find_session(connection: Connection, token_sha256: bytes) -> ApiKey | None:
    """Return the live key of a session that lasts, or None."""
    row = await connection.fetchrow(FIND_SESSION, token_sha256)
    return None if row is None else key_from_row(dict(row))


END_SESSION: LiteralString = "DELETE FROM console_sessions WHERE token_sha256 = $1"


async def end_session(connection: Connection, token_sha256: bytes) -> None:
    """End a session; one that is not there is ended."""
    await connection.execute(END_SESSION, token_sha256)
