"""Access keys by command: made and shown once, kept sealed, listed, ended, and in the audit trail."""

import json
from typing import Any
from uuid import UUID

import pytest

from service.core.sealing import open_sealed
from tests.conftest import StartService
from tests.support.access_keys import SEALING_KEY, SECRET_KEY
from tests.support.sql import fetch_rows, fetch_value

OPTIONS = ("--name", "pipeline", "--scope", "submit", "--scope", "read", "--workspace", "project/ws-*")


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    """The settings of the commands."""
    return {"RELEASE_DATABASE_URL": database_url, "RELEASE_SECRET_KEY": SECRET_KEY}


async def test_an_access_key_is_shown_once_and_kept_sealed(
    start_service: StartService, environment: dict[str, str], database_url: str
) -> None:
    """The pair is printed; Postgres has the secret sealed, bound to its access key; the list has the public half."""
    create = start_service(
        "keys", "create", *OPTIONS, "--aksk", "--apply-user", "u1", "-o", "json", environment=environment
    )
    code = await create.wait()
    created: dict[str, Any] = json.loads(create.stdout)
    listing = start_service("keys", "list", "-o", "json", environment=environment)
    await listing.wait()
    (listed,) = json.loads(listing.stdout)
    sealed: bytes = await fetch_value(database_url, "SELECT sealed_secret FROM api_keys")
    dump: str = await fetch_value(database_url, "SELECT string_agg(k::text, '') FROM api_keys AS k")

    assert code == 0
    assert created.keys() == {
        "id",
        "name",
        "scopes",
        "workspaces",
        "apply_user_ids",
        "access_key",
        "secret_key",
    }
    assert (len(created["access_key"]), len(created["secret_key"])) == (20, 43)
    assert created["secret_key"] == open_sealed(sealed, key=SEALING_KEY, bound_to=created["access_key"])
    assert created["secret_key"] not in dump
    assert (listed["id"], listed["access_key"], listed["apply_user_ids"]) == (
        created["id"],
        created["access_key"],
        ["u1"],
    )
    assert created["secret_key"] not in listing.stdout


async def test_an_access_key_needs_the_secret_key(start_service: StartService, database_url: str) -> None:
    """Without RELEASE_SECRET_KEY none is made, and the command says what is missing."""
    process = start_service(
        "keys", "create", *OPTIONS, "--aksk", environment={"RELEASE_DATABASE_URL": database_url}
    )
    code = await process.wait()

    assert (code, process.stdout) == (2, "")
    assert "RELEASE_SECRET_KEY is not set: expected 32 bytes in base64" in process.stderr
    assert await fetch_value(database_url, "SELECT count(*) FROM api_keys") == 0


@pytest.mark.parametrize("kind", [(), ("--aksk",)])
async def test_keys_that_come_and_go_are_in_the_audit_trail(
    start_service: StartService, environment: dict[str, str], database_url: str, kind: tuple[str, ...]
) -> None:
    """Creating and revoking a key leave who, what and the rights of the key, and no secret."""
    create = start_service("keys", "create", *OPTIONS, *kind, "-o", "json", environment=environment)
    await create.wait()
    created = json.loads(create.stdout)
    revoke = start_service("keys", "revoke", created["id"], environment=environment)
    code = await revoke.wait()
    rows = await fetch_rows(
        database_url, "SELECT actor, action, target, before, after FROM audit_log ORDER BY id"
    )
    rights = {"name": "pipeline", "scopes": ["submit", "read"], "workspaces": ["project/ws-*"]}
    secret = created.get("secret_key", created.get("key"))

    assert code == 0
    assert UUID(created["id"])
    assert [(row["action"], row["target"]) for row in rows] == [
        ("key.created", created["id"]),
        ("key.revoked", created["id"]),
    ]
    assert all(row["actor"].startswith("command line, ") for row in rows)
    assert (json.loads(rows[0]["after"]), json.loads(rows[1]["before"])) == (rights, rights)
    assert secret not in str([dict(row) for row in rows])


async def test_an_applicant_that_can_be_none_is_refused(
    start_service: StartService, environment: dict[str, str]
) -> None:
    """An applicant is an id; anything else would never match."""
    process = start_service("keys", "create", *OPTIONS, "--apply-user", "a b", environment=environment)
    code = await process.wait()

    assert (code, process.stdout) == (2, "")
    assert "--apply-user: expected 1 to 64 of the characters" in process.stderr
