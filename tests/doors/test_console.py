"""The console without a browser: who comes in, whose forms are taken, and what pages show; words in all languages."""

import re
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

import service.doors.console
from service.commands.keys import create_key, revoke_key
from service.core.ids import new_id
from service.doors.console.entrance import Page
from service.doors.console.routes import PAGES
from service.doors.console.words import LANGUAGES, choose_language, load_words
from tests.doors.conftest import StartReplica
from tests.support.api import REQUESTS, Answer, Replica
from tests.support.sql import fetch_value
from tests.support.stack import body
from tests.support.waiting import eventually

_CONSOLE = Path(service.doors.console.__file__).parent
_OF_THIS_SITE = {"Sec-Fetch-Site": "same-origin"}
_FORM_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@pytest.fixture
async def guarded(start_replica: StartReplica) -> Replica:
    """A replica that asks for keys."""
    return await start_replica(RELEASE_AUTH="keys")


async def make_key(database_url: str, *scopes: str, workspaces: Sequence[str] = ("*",)) -> tuple[str, UUID]:
    created = await create_key(
        database_url, name="ada", scopes=scopes, workspaces=workspaces, expires_in=None
    )
    return created.api_key, created.kept.key_id


async def send(replica: Replica, path: str, fields: dict[str, str], **headers: str) -> Answer:
    """Send a form as a browser would, and do not follow where it leads."""
    sent = {"Content-Type": "application/x-www-form-urlencoded"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    async with replica.session.post(
        replica.url + path, data=fields, headers=sent, allow_redirects=False
    ) as answer:
        return Answer(status=answer.status, headers=answer.headers, body=await answer.read())


async def read(replica: Replica, path: str, cookie: str = "", **headers: str) -> Answer:
    """Open a page, and do not follow where it leads."""
    sent = {"Cookie": cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with replica.session.get(replica.url + path, headers=sent, allow_redirects=False) as answer:
        return Answer(status=answer.status, headers=answer.headers, body=await answer.read())


async def log_in(replica: Replica, api_key: str, **headers: str) -> str:
    """Log in, and return the cookie."""
    answer = await send(replica, "/login", {"api_key": api_key}, Sec_Fetch_Site="same-origin", **headers)
    assert answer.status == 303
    return answer.headers["Set-Cookie"]


def session_of(cookie: str) -> str:
    return cookie.partition(";")[0]


async def form_token(replica: Replica, cookie: str) -> str:
    found = _FORM_TOKEN.search((await read(replica, "/", cookie)).body.decode())
    assert found is not None
    return found[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.method} {page.path}")
async def test_without_a_login_every_page_leads_to_it(guarded: Replica, page: Page) -> None:
    """Nothing is shown and nothing done without a session; a page that is asked for is where the login leads."""
    path = re.sub(r"{\w+}", "01900000-0000-7000-8000-000000000000", page.path)
    if page.method == "GET":
        answer = await read(guarded, path)
        assert answer.headers["Location"] == f"/login?next={path.replace('/', '%2F')}"
    else:
        answer = await send(guarded, path, {}, Sec_Fetch_Site="same-origin")
        assert answer.headers["Location"] == "/login"
    assert (answer.status, answer.body) == (303, b"")


async def test_a_session_lives_in_a_cookie_that_no_script_and_no_other_site_gets(
    guarded: Replica, database_url: str
) -> None:
    """HttpOnly, SameSite, and Secure where the browser speaks TLS; what is kept is only a hash."""
    api_key, _ = await make_key(database_url, "read")
    plain = await log_in(guarded, api_key)
    encrypted = await log_in(guarded, api_key, X_Forwarded_Proto="https")

    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(plain.split("; "))
    assert "Secure" not in plain.split("; ")
    assert "Secure" in encrypted.split("; ")
    page = await read(guarded, "/", session_of(plain))
    assert page.status == 200
    assert api_key not in page.body.decode() + plain


@pytest.mark.parametrize("given", ["", "rel_short", "rel_" + "A" * 43, "' OR 1=1 --"], ids=repr)
async def test_a_wrong_key_begins_no_session(guarded: Replica, given: str) -> None:
    """The login says so, and asks again."""
    answer = await send(guarded, "/login", {"api_key": given}, Sec_Fetch_Site="same-origin")

    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers
    assert "no API key that is in force" in answer.body.decode()


async def test_a_key_that_may_not_read_begins_no_session(guarded: Replica, database_url: str) -> None:
    """The pages are for those who may read."""
    api_key, _ = await make_key(database_url, "submit")
    answer = await send(guarded, "/login", {"api_key": api_key}, Sec_Fetch_Site="same-origin")

    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers


async def test_a_session_ends_with_the_logout_and_with_its_key(
    guarded: Replica, start_replica: StartReplica, database_url: str
) -> None:
    """A cookie that somebody kept is worth nothing afterwards, in every process."""
    other = await start_replica(RELEASE_AUTH="keys")
    api_key, key_id = await make_key(database_url, "read")
    first, second = [session_of(await log_in(guarded, api_key)) for _ in range(2)]
    assert (await read(other, "/", first)).status == 200

    token = await form_token(guarded, first)
    ended = await send(guarded, "/logout", {"form_token": token}, Cookie=first, Sec_Fetch_Site="same-origin")
    assert ended.status == 303
    await eventually(lambda: _leads_to_login(other, first))
    assert (await read(guarded, "/", second)).status == 200

    await revoke_key(database_url, key_id)
    await eventually(lambda: _leads_to_login(other, second))
    await eventually(lambda: _leads_to_login(guarded, second))


async def test_a_session_ends_when_its_time_is_over(guarded: Replica, database_url: str) -> None:
    """However live its key is; and the next login sweeps it away."""
    api_key, _ = await make_key(database_url, "read")
    cookie = session_of(await log_in(guarded, api_key))
    assert (await read(guarded, "/", cookie)).status == 200

    await fetch_value(database_url, "UPDATE console_sessions SET expires_at = now()")
    await eventually(lambda: _leads_to_login(guarded, cookie))
    await log_in(guarded, api_key)
    assert await fetch_value(database_url, "SELECT count(*) FROM console_sessions") == 1


async def _leads_to_login(replica: Replica, cookie: str) -> bool:
    return (await read(replica, "/", cookie)).status == 303


@pytest.mark.parametrize(
    ("headers", "has_token", "status"),
    [
        ({"Sec_Fetch_Site": "same-origin"}, True, 303),
        ({"Sec_Fetch_Site": "same-origin"}, False, 403),
        ({"Sec_Fetch_Site": "cross-site"}, True, 403),
        ({"Sec_Fetch_Site": "same-site"}, True, 403),
        ({"Origin": "https://elsewhere.example"}, True, 403),
        ({"Origin": "null"}, True, 403),
        ({}, True, 303),
        ({}, False, 403),
    ],
    ids=str,
)
async def test_a_form_counts_only_from_a_page_of_this_session(
    guarded: Replica, database_url: str, headers: dict[str, str], has_token: bool, status: int
) -> None:
    """Another site can make a browser send a form with its cookie, but neither the token nor the origin."""
    api_key, _ = await make_key(database_url, "admin")
    cookie = session_of(await log_in(guarded, api_key))
    fields = {"language": "zh-CN"}
    if has_token:
        fields["form_token"] = await form_token(guarded, cookie)

    answer = await send(guarded, "/console/preferences", fields, Cookie=cookie, **headers)

    assert answer.status == status
    assert ("release_language" in answer.headers.get("Set-Cookie", "")) is (status == 303)


async def test_without_keys_a_form_of_another_site_is_refused(replica: Replica) -> None:
    """Where nobody logs in, any page that the browser has open could send one."""
    foreign = await send(
        replica, "/console/preferences", {"language": "en"}, Origin="https://elsewhere.example"
    )
    silent = await send(replica, "/console/preferences", {"language": "en"})
    own = await send(replica, "/console/preferences", {"language": "en"}, Origin=replica.url)

    assert (foreign.status, silent.status, own.status) == (403, 403, 303)


async def test_the_login_leads_to_no_other_site(guarded: Replica, database_url: str) -> None:
    """Where it leads is part of the address, which anybody can write."""
    api_key, _ = await make_key(database_url, "read")
    for goal in (
        "https://elsewhere.example",
        "//elsewhere.example",
        "/\\elsewhere.example",
        "javascript:x",
        "/a\nb",
    ):
        answer = await send(
            guarded, "/login", {"api_key": api_key, "next": goal}, Sec_Fetch_Site="same-origin"
        )
        assert (answer.status, answer.headers["Location"]) == (303, "/"), goal


async def test_who_may_only_read_is_offered_nothing_and_refused(guarded: Replica, database_url: str) -> None:
    """A viewer sees the page without its buttons, and what the buttons do is refused."""
    viewer, _ = await make_key(database_url, "read")
    admin, _ = await make_key(database_url, "admin")
    accepted = await guarded.post(
        body("1", not_before="2100-01-01T00:00:00Z"), Authorization=f"Bearer {admin}"
    )
    path = f"/requests/{accepted.json['id']}"
    reads, acts = session_of(await log_in(guarded, viewer)), session_of(await log_in(guarded, admin))

    assert f"{path}/cancel" not in (await read(guarded, path, reads)).body.decode()
    assert f"{path}/cancel" in (await read(guarded, path, acts)).body.decode()
    fields = {"form_token": await form_token(guarded, reads)}
    refused = await send(guarded, f"{path}/cancel", fields, Cookie=reads, Sec_Fetch_Site="same-origin")
    fields = {"form_token": await form_token(guarded, acts), "reason": "a typing error"}
    done = await send(guarded, f"{path}/cancel", fields, Cookie=acts, Sec_Fetch_Site="same-origin")

    assert (refused.status, done.status, done.headers["Location"]) == (403, 303, path)
    shown = (await read(guarded, path, acts)).body.decode()
    assert "s-cancelled" in shown
    assert "a typing error" in shown


async def test_a_viewer_of_one_workspace_sees_nothing_of_another(guarded: Replica, database_url: str) -> None:
    """Neither in lists nor by id."""
    admin, _ = await make_key(database_url, "admin")
    viewer, _ = await make_key(database_url, "read", workspaces=["*/ours"])
    bearer = {"Authorization": f"Bearer {admin}"}
    ours = (await guarded.post(body("1", workspace="ours"), **bearer)).json["id"]
    theirs = (await guarded.post(body("2", workspace="theirs"), **bearer)).json["id"]
    cookie = session_of(await log_in(guarded, viewer))

    shown = (await read(guarded, "/requests", cookie)).body.decode()
    assert ours in shown
    assert theirs not in shown
    assert (await read(guarded, f"/requests/{theirs}", cookie)).status == 404
    overview = (await read(guarded, "/", cookie)).body.decode()
    assert "theirs" not in overview


async def test_what_callers_write_is_shown_and_never_run(replica: Replica) -> None:
    """Notes, labels and reasons are text, whatever they hold; no page has a script or a style of its own."""
    nasty = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    accepted = await replica.post(body("1", note=nasty, labels={"team": nasty}))
    answer = await read(replica, f"/requests/{accepted.json['id']}")
    page = answer.body.decode()

    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert re.search(r"<script(?! src=)|<style|<[^>]*\s(style|on[a-z]+)=", page) is None
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_lists_go_page_by_page_and_their_address_is_their_state(replica: Replica) -> None:
    """Each request is on one page; a filter stays on the way, and a wrong one is explained beside the form."""
    wanted = [(await replica.accept(body(str(n), workspace="many")))["id"] for n in range(60)]
    await replica.accept(body("x", workspace="other"))
    first = (await read(replica, "/requests?workspace=many&state=")).body.decode()
    found = re.search(r'href="([^"]*page_token=[^"]*)"', first)
    assert found is not None
    second = (await read(replica, found[1].replace("&amp;", "&"))).body.decode()

    ids = re.findall(r'<tr id="r-([0-9a-f-]{36})"', first + second)
    assert sorted(ids) == sorted(wanted)
    assert 'value="many"' in second
    wrong = await read(replica, "/requests?state=lost")
    assert wrong.status == 400
    assert "Expected state to be one of" in wrong.body.decode()
    assert (await read(replica, f"/requests?find={wanted[0]}")).headers[
        "Location"
    ] == f"/requests/{wanted[0]}"
    assert (await read(replica, "/requests?find=17")).headers["Location"] == "/requests?item=17"


@pytest.mark.parametrize("kind", ["requests", "batches"])
async def test_what_is_no_longer_kept_is_said_to_be_gone(start_replica: StartReplica, kind: str) -> None:
    """With the time for which it was kept, in the language of who looks; of an id of today nobody can say that."""
    replica = await start_replica(RELEASE_RETENTION_DAYS="7")
    old = f"/{kind}/01600000-0000-7000-8000-000000000000"
    gone = await read(replica, old)
    chinese = await read(replica, old, Accept_Language="zh-CN")
    unknown = await read(replica, f"/{kind}/{new_id()}")

    assert gone.status == 410
    assert "was kept for 7 days" in gone.body.decode()
    assert "保留了 7 天" in chinese.body.decode()
    assert unknown.status == 404


async def test_an_open_page_hears_of_changes(replica: Replica) -> None:
    """The stream says at once that something may be new, and again when a request has changed."""
    async with replica.session.get(f"{replica.url}/console/changes") as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert await stream.content.readuntil(b"\n\n") == b"event: changed\ndata: \n\n"
        request_id = (await replica.accept(body("1", not_before="2100-01-01T00:00:00Z")))["id"]
        await replica.send("POST", f"{REQUESTS}/{request_id}/cancel", {})
        assert await stream.content.readuntil(b"\n\n") == b"event: changed\ndata: \n\n"


def test_every_language_has_every_word() -> None:
    """The same names everywhere, none empty, and the same places for values."""
    texts = {language: words.texts for language, words in load_words().items()}
    names = {language: set(of) for language, of in texts.items()}
    assert len({frozenset(of) for of in names.values()}) == 1
    for name in names["en"]:
        places = {frozenset(re.findall(r"{(\w+)}", texts[language][name])) for language in LANGUAGES}
        assert len(places) == 1, name
        assert all(texts[language][name].strip() for language in LANGUAGES), name


def test_every_word_of_the_templates_is_there() -> None:
    """A text that a template names by itself is in the dictionary."""
    texts = load_words()["en"].texts
    for template in (_CONSOLE / "templates").glob("*.html"):
        for name in re.findall(r'\bt\(\s*["\']([a-z0-9_.]+)["\']\s*[,)]', template.read_text()):
            assert name in texts, f"{template.name}: {name}"


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "zh", "zh-CN"),
        (None, "zh-TW,en;q=0.8", "zh-CN"),
        (None, "en;q=0.5, zh-CN;q=0.9", "zh-CN"),
        (None, "fr, de;q=0.9", "en"),
        (None, "zh;q=0, en;q=0.1", "en"),
        (None, "zh;q=x;;,", "en"),
        ("en", "zh-CN", "en"),
        ("klingon", "zh-CN", "zh-CN"),
    ],
)
def test_the_language_is_the_chosen_one_or_the_one_that_the_browser_likes_best(
    chosen: str | None, accepted: str, language: str
) -> None:
    """By weight, as far as the language is spoken here."""
    assert choose_language(chosen, accepted) == language
