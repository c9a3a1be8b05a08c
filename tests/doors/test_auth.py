"""API keys: who may come in, what each key may do and see, and that no key is ever written down."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from service.commands.keys import create_api_key, create_key, revoke_key
from service.core.key_orders import KeyOrder
from tests.conftest import StartService
from tests.doors.conftest import StartReplica
from tests.support.api import REQUESTS, Api, Replica, new_session
from tests.support.sql import count_requests, fetch_value
from tests.support.stack import body, free_port
from tests.support.waiting import eventually

ALL = ("*",)
#: Well formed, and nobody's.
UNKNOWN_KEY = "rel_" + "A" * 43


@pytest.fixture
async def guarded(start_replica: StartReplica) -> Replica:
    """A replica that asks for keys."""
    return await start_replica(RELEASE_AUTH="keys")


async def make_key(
    database_url: str, *scopes: str, workspaces: Sequence[str] = ALL, expires_in: timedelta | None = None
) -> str:
    created = await create_key(
        database_url, name="a key", scopes=scopes, workspaces=workspaces, expires_in=expires_in
    )
    return created.api_key


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer rel_short"},
        {"Authorization": f"Bearer {UNKNOWN_KEY}"},
        {"Authorization": f"Basic {UNKNOWN_KEY}"},
        {"Authorization": "Bearer rel_" + "ü" * 43},
        {"X-Auth-Token": ""},
        {"X-Auth-Token": UNKNOWN_KEY},
        {"X-Auth-Token": "' OR 1=1 --"},
    ],
    ids=repr,
)
async def test_nobody_comes_in_without_a_live_key(guarded: Replica, headers: dict[str, str]) -> None:
    """A missing, malformed or unknown key is 401 on every route but health, before anything else is looked at."""
    sent = headers | {"Content-Type": "text/plain"}
    answers = [
        await guarded.ask("POST", REQUESTS, data=b"{", headers=sent),
        await guarded.ask("GET", f"{REQUESTS}/no-uuid", headers=sent),
        await guarded.ask("GET", f"{REQUESTS}/no-uuid/events", headers=sent),
        await guarded.ask("GET", "/v1/batches/no-uuid?x=1", headers=sent),
    ]

    for answer in answers:
        assert (answer.status, answer.code) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="batch-release"'
    assert (await guarded.get("/livez")).status == 200
    assert (await guarded.get("/readyz")).status == 200


async def test_a_key_comes_as_bearer_or_as_token(guarded: Replica, database_url: str) -> None:
    """Both headers of the contract carry a key, the scheme in any case."""
    key = await make_key(database_url, "submit")
    answers = [
        await guarded.post(body("1"), Authorization=f"Bearer {key}"),
        await guarded.post(body("2"), Authorization=f"bearer  {key}"),
        await guarded.post(body("3"), X_Auth_Token=key),
    ]

    assert [answer.status for answer in answers] == [202, 202, 202]


async def test_a_key_without_the_scope_is_forbidden(guarded: Replica, database_url: str) -> None:
    """Reading needs read, handing in needs submit, admin may do both, and operate neither."""
    keys = {scope: await make_key(database_url, scope) for scope in ("read", "submit", "operate", "admin")}
    accepted = await guarded.accept(body("1"), X_Auth_Token=keys["submit"])
    posts = {scope: (await guarded.post(body("1"), X_Auth_Token=key)).status for scope, key in keys.items()}
    gets = {
        scope: (await guarded.get(f"{REQUESTS}/{accepted['id']}", X_Auth_Token=key)).status
        for scope, key in keys.items()
    }
    refused = await guarded.post(body("1"), X_Auth_Token=keys["read"])

    assert posts == {"read": 403, "submit": 202, "operate": 403, "admin": 202}
    assert gets == {"read": 200, "submit": 403, "operate": 403, "admin": 200}
    assert refused.code == "forbidden"
    assert "submit" in refused.json["detail"]


async def test_a_revoked_key_ends_within_a_second(guarded: Replica, database_url: str) -> None:
    """A key that was just used is refused at most a second after its revocation, by every process."""
    created = await create_key(database_url, name="a key", scopes=["submit"], workspaces=ALL)
    token = {"X_Auth_Token": created.api_key}
    await guarded.accept(body("1"), **token)

    async def is_refused() -> bool:
        return (await guarded.post(body("1"), **token)).status == 401

    assert await revoke_key(database_url, created.kept.key_id)
    assert await eventually(is_refused, within=1.0)
    assert not await revoke_key(database_url, created.kept.key_id)


async def test_an_expired_key_is_refused(guarded: Replica, database_url: str) -> None:
    """A key whose time is over is as good as none."""
    expired = await make_key(database_url, "submit", expires_in=timedelta(seconds=-1))
    live = await make_key(database_url, "submit", expires_in=timedelta(hours=1))

    assert (await guarded.post(body("1"), X_Auth_Token=expired)).status == 401
    assert (await guarded.post(body("1"), X_Auth_Token=live)).status == 202


@pytest.mark.parametrize(
    ("pattern", "workspace", "is_allowed"),
    [
        ("project/ws-1", "ws-1", True),
        ("project/ws-1", "ws-10", False),
        ("project/ws-1", "WS-1", False),
        ("project/ws-*", "ws-1", True),
        ("project/*-1", "ws-1", True),
        ("*/ws-1", "ws-1", True),
        ("*", "ws-1", True),
        ("other/*", "ws-1", False),
        ("project/ws_1", "ws-1", False),
        ("project/ws_1", "ws_1", True),
        ("project/w.-1", "ws-1", False),
        ("project/w.1", "w.1", True),
        ("projec_/*", "ws-1", False),
    ],
)
async def test_a_key_sees_and_serves_only_its_workspaces(
    guarded: Replica, database_url: str, pattern: str, workspace: str, is_allowed: bool
) -> None:
    """Only the star is a wildcard; elsewhere handing in is 403 and the ids of others are 404 in every view."""
    admin = {"X_Auth_Token": await make_key(database_url, "admin")}
    limited = {"X_Auth_Token": await make_key(database_url, "read", "submit", workspaces=[pattern])}
    accepted = await guarded.accept(body("1", workspace=workspace), **admin)
    path = f"{REQUESTS}/{accepted['id']}"
    post = await guarded.post(body("2", workspace=workspace), **limited)
    looks = [await guarded.get(look, **limited) for look in (path, f"{path}/events", f"{path}?wait=0")]

    assert post.status == (202 if is_allowed else 403)
    assert {look.status for look in looks} == {200 if is_allowed else 404}
    if not is_allowed:
        assert post.code == "forbidden"
        assert {look.code for look in looks} == {"not-found"}


async def test_a_percent_sign_is_no_wildcard(guarded: Replica, database_url: str) -> None:
    """A pattern that came into the table by another way matches nothing that it does not spell."""
    created = await create_key(database_url, name="a key", scopes=["read"], workspaces=ALL)
    await fetch_value(database_url, r"UPDATE api_keys SET workspaces = ARRAY['project/%', 'project/ws\_1']")
    admin = await make_key(database_url, "admin")
    accepted = await guarded.accept(body("1"), X_Auth_Token=admin)
    look = await guarded.get(f"{REQUESTS}/{accepted['id']}", X_Auth_Token=created.api_key)

    assert look.status == 404


async def test_a_key_of_another_workspace_is_not_told_who_conflicts(
    guarded: Replica, database_url: str
) -> None:
    """Handing in to a foreign workspace is refused before its items are looked at."""
    admin = await make_key(database_url, "admin")
    limited = await make_key(database_url, "submit", workspaces=["project/mine"])
    await guarded.accept(body("1", workspace="theirs"), X_Auth_Token=admin)
    answer = await guarded.post(body("1", workspace="theirs", applicant="eve"), X_Auth_Token=limited)

    assert (answer.status, answer.code) == (403, "forbidden")
    assert "release_request_id" not in answer.json


async def test_a_key_for_some_applicants_applies_for_nobody_else(guarded: Replica, database_url: str) -> None:
    """A key that is bound to applicants hands in for them; for another it is forbidden, and nothing is kept."""
    order = KeyOrder(name="a key", scopes=["submit"], workspaces=ALL, apply_user_ids=["u1", "u2"])
    token = {"X_Auth_Token": (await create_api_key(database_url, order)).api_key}
    await guarded.accept(body("1", applicant="u1"), **token)
    await guarded.accept(body("2", applicant="u2"), **token)
    refused = await guarded.post(body("3", applicant="u3"), **token)

    assert (refused.status, refused.code) == (403, "forbidden")
    assert "u3" in refused.json["detail"]
    assert await count_requests(database_url) == 2


async def run_keys(start_service: StartService, database_url: str, *arguments: str) -> tuple[int, str, str]:
    process = start_service("keys", *arguments, environment={"RELEASE_DATABASE_URL": database_url})
    code = await process.wait()
    return code, process.stdout, process.stderr


async def test_keys_are_created_listed_and_revoked_by_command(
    start_service: StartService, guarded: Replica, database_url: str
) -> None:
    """A key made by command works, is listed without itself, and ends by command."""
    options = ("--name", "ci", "--scope", "submit", "--scope", "read", "--workspace", "project/ws-*")
    code, out, _ = await run_keys(
        start_service, database_url, "create", *options, "--expires-days", "30", "-o", "json"
    )
    created: dict[str, Any] = json.loads(out)
    accepted = await guarded.post(body("1"), X_Auth_Token=created["key"])
    _, listed, _ = await run_keys(start_service, database_url, "list", "-o", "json")
    revoked, *_ = await run_keys(start_service, database_url, "revoke", created["id"])
    again, _, complaint = await run_keys(start_service, database_url, "revoke", created["id"])

    assert (code, accepted.status) == (0, 202)
    assert created.keys() == {"id", "name", "scopes", "workspaces", "key"}
    assert created["scopes"] == ["submit", "read"]
    assert [(row["id"], row["name"], row["workspaces"]) for row in json.loads(listed)] == [
        (created["id"], "ci", ["project/ws-*"])
    ]
    assert created["key"] not in listed
    assert (revoked, again) == (0, 1)
    assert created["id"] in complaint


@pytest.mark.parametrize(
    "options",
    [
        ("--name", "", "--scope", "read", "--workspace", "*"),
        ("--name", "x" * 101, "--scope", "read", "--workspace", "*"),
        ("--name", "a\nb", "--scope", "read", "--workspace", "*"),
        ("--name", "ci", "--scope", "read", "--workspace", "ws-1"),
        ("--name", "ci", "--scope", "read", "--workspace", "project/%"),
        ("--name", "ci", "--scope", "everything", "--workspace", "*"),
        ("--name", "ci", "--workspace", "*"),
        ("--name", "ci", "--scope", "read"),
    ],
)
async def test_a_key_that_would_be_of_no_use_is_not_made(
    start_service: StartService, database_url: str, options: tuple[str, ...]
) -> None:
    """Wrong options end with code 2 and say what is wrong, without a traceback."""
    code, out, err = await run_keys(start_service, database_url, "create", *options)

    assert (code, out) == (2, "")
    assert "--name" in err or "--scope" in err or "--workspace" in err
    assert "Traceback" not in err


async def test_a_key_is_nowhere_but_with_its_owner(
    start_service: StartService, database_url: str, redis_url: str
) -> None:
    """Neither the log, even at its most talkative, nor Postgres, nor Redis holds a key that was used."""
    key = await make_key(database_url, "submit", "read")
    port = free_port()
    process = start_service(
        "api",
        environment={
            "RELEASE_DATABASE_URL": database_url,
            "RELEASE_REDIS_URL": redis_url,
            "RELEASE_HTTP_PORT": str(port),
            "RELEASE_PROJECT_ID": "project",
            "RELEASE_LOG_LEVEL": "debug",
            "RELEASE_LOG_FORMAT": "json",
        },
    )
    await process.wait_for_line("process.started")
    async with new_session() as session:
        api = Api(f"http://127.0.0.1:{port}", session)
        await api.accept(body("1"), Authorization=f"Bearer {key}")
        await api.post(b"{", X_Auth_Token=key)
        await api.get(f"/nothing/{key[:10]}", X_Auth_Token=key)
    await eventually(lambda: process.stderr.count("http.served") >= 3)
    in_redis = await eventually(lambda: dump_redis(redis_url))
    everything = [process.stdout, process.stderr, await dump_postgres(database_url), in_redis]

    assert not any(key in text or key.removeprefix("rel_") in text for text in everything)


async def dump_postgres(database_url: str) -> str:
    tables = ("api_keys", "release_requests", "release_items", "request_events")
    dumps = [
        await fetch_value(database_url, f"SELECT string_agg(t::text, ';') FROM {table} AS t")  # noqa: S608 - names of ours
        for table in tables
    ]
    return "\n".join(dumps)


async def dump_redis(redis_url: str) -> str:
    client = redis.asyncio.Redis.from_url(redis_url)
    try:
        return "\n".join([repr((key, await client.dump(key))) async for key in client.scan_iter()])
    finally:
        await client.aclose()
