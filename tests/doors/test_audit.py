"""GET /v1/audit."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.commands.keys import create_key
from tests.support.api import Replica, running_replica


@pytest.fixture
async def guarded(database_url: str, redis_url: str) -> AsyncIterator[Replica]:
    """A replica that asks for keys."""
    settings = {"RELEASE_DATABASE_URL": database_url, "RELEASE_REDIS_URL": redis_url, "RELEASE_AUTH": "keys"}
    async with running_replica(settings) as replica:
        yield replica


async def key_with(database_url: str, scope: str) -> str:
    created = await create_key(database_url, name="a key", scopes=[scope], workspaces=["*"])
    return created.api_key


async def test_a_wrong_row_is_in_the_answer(guarded: Replica, database_url: str) -> None:
    """What is wrong is named under its rule; the other rules are listed as good."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO release_requests (id, caller, body_digest, project_id, workspace, apply_user_id, approver_ids,"
        " batch_key) SELECT gen_random_uuid(), 'c', sha256('b'), 'p', 'w', 'u', '{a}', gen_random_uuid()"
    )
    request_id = await connection.fetchval("SELECT id FROM release_requests")
    await connection.close()
    answer = await guarded.get("/v1/audit", X_Auth_Token=await key_with(database_url, "admin"))
    counts = {rule["rule"]: rule["count"] for rule in answer.json["rules"]}

    assert answer.status == 200
    assert answer.json["clean"] is False
    assert counts == {"A1": 1, "A2": 0, "A3": 0, "A4": 0, "A5": 0, "A6": 1}
    assert answer.json["rules"][0]["rows"][0]["row"] == f"request {request_id}"


async def test_only_admins_may_ask(guarded: Replica, database_url: str) -> None:
    """The answer names rows of every workspace, so no other scope is enough."""
    statuses = [
        (await guarded.get("/v1/audit", X_Auth_Token=await key_with(database_url, scope))).status
        for scope in ("read", "submit", "operate")
    ]

    assert statuses == [403, 403, 403]


@pytest.mark.parametrize("query", ["action=%00", "target=a%00b", "target=%0D%0A"])
async def test_control_characters_are_no_filter_of_the_trail(
    guarded: Replica, database_url: str, query: str
) -> None:
    """They are 400, as everywhere."""
    key = await key_with(database_url, "admin")
    answer = await guarded.get(f"/v1/audit-log?{query}", X_Auth_Token=key)

    assert (answer.status, answer.code) == (400, "invalid-parameter")


async def test_the_audit_is_for_admins_of_all_workspaces(guarded: Replica, database_url: str) -> None:
    """It tells of every workspace, so an admin of some gets 403."""
    created = await create_key(database_url, name="k", scopes=["admin"], workspaces=["p/w"])
    answer = await guarded.get("/v1/audit", X_Auth_Token=created.api_key)

    assert (answer.status, answer.code) == (403, "forbidden")
