"""The one table of the yardsticks and peers: a row a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import orjson

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
SCHEMA = """
CREATE TABLE requests (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    id uuid PRIMARY KEY,
    key text NOT NULL,
    body bytea NOT NULL,
    package_id text,
    done_at timestamptz
);
CREATE INDEX requests_waiting ON requests (key, seq) WHERE done_at IS NULL;
"""
INSERT = "INSERT INTO requests (id, key, body) SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])"
CLAIM = "SELECT id, body FROM requests WHERE key = $1 AND done_at IS NULL ORDER BY seq LIMIT $2"
FINISH = "UPDATE requests SET package_id = $2, done_at = clock_timestamp() WHERE id = ANY($1::uuid[])"
MOST_ITEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came."""

    id: UUID
    key: str
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Requests of one key that go out in one call."""

    ids: Sequence[UUID]
    #: The body of the first: applicant and approvers are those of all.
    first: Mapping[str, Any]
    items: Sequence[str]


def read_request(raw: bytes) -> Request:
    """Read a request and its key; whoever wrote it is believed."""
    body = orjson.loads(raw)
    key = "/".join([body["workspace"], body["apply_user_id"], *sorted(body["approver_ids"])])
    return Request(id=uuid4(), key=key, raw=raw)


async def insert(connection: "asyncpg.Connection[asyncpg.Record]", group: Sequence[Request]) -> None:
    """Write requests in one statement."""
    columns = [each.id for each in group], [each.key for each in group], [each.raw for each in group]
    await connection.execute(INSERT, *columns)


async def claim(pool: Pool, key: str) -> Claim | None:
    """Take what waits of a key, as many items as fit; nobody else works on the key."""
    rows = await pool.fetch(CLAIM, key, MOST_ITEMS)
    bodies = [orjson.loads(row["body"]) for row in rows]
    ids: list[UUID] = []
    items: list[str] = []
    for row, body in zip(rows, bodies, strict=True):
        if len(items) + len(body["pending_item_list"]) > MOST_ITEMS:
            break
        ids.append(row["id"])
        items += body["pending_item_list"]
    return Claim(ids=ids, first=bodies[0], items=items) if ids else None


async def finish(pool: Pool, ids: Sequence[UUID], package_id: str) -> None:
    """Write the result of requests in one statement."""
    await pool.execute(FINISH, ids, package_id)
