"""Keys in the console: made once and shown once, ended with a reason, for admins of all workspaces only."""

import html
import json
import re
from uuid import UUID

import pytest

from service.core.sealing import open_sealed
from tests.doors.conftest import StartReplica
from tests.doors.test_console import form_token, log_in, make_key, read, send, session_of
from tests.support.access_keys import SEALING_KEY, SECRET_KEY
from tests.support.api import Answer, Replica
from tests.support.sql import fetch_rows, fetch_value
from tests.support.waiting import eventually

OF_THIS_SITE = {"Sec_Fetch_Site": "same-origin"}
ORDER = {
    "key_id": "01900000-0000-7000-8000-00000000000a",
    "name": "pipeline",
    "scope": "submit",
    "workspaces": "project/ws-*\nother/*",
    "apply_user_ids": "u1, u2",
    "days": "30",
    "kind": "api_key",
    "reason": "for the new pipeline",
}


@pytest.fixture
async def guarded(start_replica: StartReplica) -> Replica:
    """A replica that asks for keys, and can seal the secrets of access keys."""
    return await start_replica(RELEASE_AUTH="keys", RELEASE_SECRET_KEY=SECRET_KEY)


async def open_session(replica: Replica, database_url: str, *scopes: str, workspaces: str = "*") -> str:
    api_key, _ = await make_key(database_url, *scopes, workspaces=[workspaces])
    return session_of(await log_in(replica, api_key))


async def order(replica: Replica, cookie: str, **changed: str) -> Answer:
    fields = {"form_token": await form_token(replica, cookie), **ORDER, **changed}
    return await send(replica, "/keys", fields, Cookie=cookie, **OF_THIS_SITE)


def secret_of(answer: Answer, name: str) -> str:
    found = re.search(rf'<code id="made-{name}">([^<]+)</code>', answer.body.decode())
    assert found is not None
    return html.unescape(found[1])


async def test_a_new_key_is_shown_once_and_works(guarded: Replica, database_url: str) -> None:
    """It is in the answer, which nobody keeps, and nowhere else; it has the rights that were asked for."""
    cookie = await open_session(guarded, database_url, "admin")
    made = await order(guarded, cookie)
    api_key = secret_of(made, "api_key")
    listed = await read(guarded, "/keys", cookie)
    (entry,) = await fetch_rows(
        database_url,
        "SELECT actor, target, reason, after FROM audit_log WHERE action = 'key.created' AND reason <> ''",
    )
    dump = await fetch_value(database_url, "SELECT string_agg(k::text, '') FROM api_keys AS k")

    assert (made.status, made.headers["Cache-Control"]) == (200, "no-store")
    assert not any(api_key in value for value in made.headers.values())
    assert "pipeline" in listed.body.decode()
    assert api_key not in listed.body.decode() + dump
    assert entry["actor"].startswith("ada (")
    assert (entry["target"], entry["reason"]) == (ORDER["key_id"], "for the new pipeline")
    assert json.loads(entry["after"]) == {
        "name": "pipeline",
        "scopes": ["submit"],
        "workspaces": ["project/ws-*", "other/*"],
        "apply_user_ids": ["u1", "u2"],
    }
    answer = await guarded.get("/v1/release-requests", Authorization=f"Bearer {api_key}")
    assert answer.status == 403
    days = "SELECT round(extract(epoch FROM expires_at - created_at) / 86400) FROM api_keys WHERE name = 'pipeline'"
    assert await fetch_value(database_url, days) == 30


async def test_a_form_that_comes_twice_makes_one_key(guarded: Replica, database_url: str) -> None:
    """A page that is loaded again sends its form again: there is no second key, and the first is not shown again."""
    cookie = await open_session(guarded, database_url, "admin")
    await order(guarded, cookie)
    again = await order(guarded, cookie)

    assert (again.status, again.headers["Location"]) == (303, "/keys")
    assert await fetch_value(database_url, "SELECT count(*) FROM api_keys WHERE name = 'pipeline'") == 1
    assert await fetch_value(database_url, "SELECT count(*) FROM audit_log WHERE action = 'key.created'") == 2


async def test_an_access_key_is_sealed(guarded: Replica, database_url: str) -> None:
    """Both halves are shown this once; the secret is kept sealed, and bound to its access key."""
    cookie = await open_session(guarded, database_url, "admin")
    made = await order(guarded, cookie, kind="access_key")
    sealed = await fetch_value(database_url, "SELECT sealed_secret FROM api_keys WHERE name = 'pipeline'")
    access_key, secret_key = secret_of(made, "access_key"), secret_of(made, "secret_key")

    assert secret_key == open_sealed(sealed, key=SEALING_KEY, bound_to=access_key)
    listed = (await read(guarded, "/keys", cookie)).body.decode()
    assert access_key in listed
    assert secret_key not in listed


async def test_without_a_sealing_key_no_access_key_is_made(
    start_replica: StartReplica, database_url: str
) -> None:
    """The page says what is missing, and offers none."""
    replica = await start_replica(RELEASE_AUTH="keys")
    cookie = await open_session(replica, database_url, "admin")
    page = (await read(replica, "/keys/new", cookie)).body.decode()
    made = await order(replica, cookie, kind="access_key")

    assert '<option value="access_key" disabled>' in page
    assert made.status == 400
    assert "RELEASE_SECRET_KEY is not set" in made.body.decode()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"name": " "}, "Name: expected 1 to 100"),
        ({"scope": "sudo"}, "Scopes: expected at least one"),
        ({"workspaces": "ws-1"}, "Workspaces: expected PROJECT/WORKSPACE"),
        ({"workspaces": ""}, "Workspaces: expected PROJECT/WORKSPACE"),
        ({"apply_user_ids": "a$b"}, "Applicants: expected ids"),
        ({"days": "0"}, "Expected 1 to 3650 days"),
        ({"days": "9" * 30}, "Expected 1 to 3650 days"),
        ({"key_id": "1"}, "Expected the id that the page gave"),
    ],
    ids=repr,
)
async def test_a_bad_order_makes_no_key(
    guarded: Replica, database_url: str, changed: dict[str, str], sentence: str
) -> None:
    """It is said what was expected, and what was filled in stays."""
    cookie = await open_session(guarded, database_url, "admin")
    answer = await order(guarded, cookie, **changed)

    assert answer.status == 400
    assert sentence in html.unescape(answer.body.decode())
    assert await fetch_value(database_url, "SELECT count(*) FROM api_keys") == 1


async def test_a_revoked_key_ends_everywhere(
    guarded: Replica, start_replica: StartReplica, database_url: str
) -> None:
    """The page asks first; then the key and its sessions end in every process, with the reason in the trail."""
    other = await start_replica(RELEASE_AUTH="keys")
    cookie = await open_session(guarded, database_url, "admin")
    api_key, key_id = await make_key(database_url, "read")
    session = session_of(await log_in(other, api_key))
    path = f"/keys/{key_id}/revoke"
    asked = (await read(guarded, path, cookie)).body.decode()
    assert f'action="{path}"' in asked
    assert (await read(other, "/", session)).status == 200

    fields = {"form_token": await form_token(guarded, cookie), "reason": "it leaked"}
    ended = await send(guarded, path, fields, Cookie=cookie, **OF_THIS_SITE)
    again = await send(guarded, path, fields, Cookie=cookie, **OF_THIS_SITE)

    assert (ended.status, ended.headers["Location"], again.status) == (303, "/keys", 404)

    async def is_out() -> bool:
        return (await read(other, "/", session)).status == 303

    await eventually(is_out)
    assert "s-revoked" in (await read(guarded, "/keys", cookie)).body.decode()
    reason = "SELECT reason FROM audit_log WHERE action = 'key.revoked' AND target = $1"
    assert await fetch_value(database_url, reason, str(key_id)) == "it leaked"


async def test_nobody_makes_a_key_that_may_more_than_theirs(guarded: Replica, database_url: str) -> None:
    """Only admins of all workspaces get there: whoever has less, of scopes or of workspaces, is refused."""
    _, key_id = await make_key(database_url, "read")
    for scopes, workspaces in ((("read", "submit", "operate"), "*"), (("admin",), "project/*")):
        cookie = await open_session(guarded, database_url, *scopes, workspaces=workspaces)
        fields = {"form_token": await form_token(guarded, cookie)}
        revoked = await send(guarded, f"/keys/{key_id}/revoke", fields, Cookie=cookie, **OF_THIS_SITE)
        shown = [
            (await read(guarded, path, cookie)).status
            for path in ("/keys", "/keys/new", f"/keys/{key_id}/revoke")
        ]

        assert ((await order(guarded, cookie)).status, revoked.status) == (403, 403)
        assert shown == [403, 403, 403]
        assert 'href="/keys"' not in (await read(guarded, "/", cookie)).body.decode()
    assert await fetch_value(database_url, "SELECT count(*) FROM api_keys WHERE name = 'pipeline'") == 0


async def test_the_page_gives_each_form_an_id_of_its_own(guarded: Replica, database_url: str) -> None:
    """Two keys that are made one after the other are two."""
    cookie = await open_session(guarded, database_url, "admin")
    pages = [(await read(guarded, "/keys/new", cookie)).body.decode() for _ in range(2)]
    ids = {re.findall(r'name="key_id" value="([^"]+)"', page)[0] for page in pages}

    assert len({UUID(one) for one in ids}) == 2
