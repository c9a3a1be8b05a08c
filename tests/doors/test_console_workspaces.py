"""Workspaces in the console: how they stand, their settings, and what operators do with them."""

import re
from typing import Any

import pytest

from tests.doors.conftest import StartReplica
from tests.doors.test_console import form_token, log_in, make_key, read, send, session_of
from tests.support.api import Answer, Replica
from tests.support.stack import body

HERE = "/workspaces/project/ws"
SETTINGS = ("max_items", "quiet_seconds", "linger_seconds", "rate", "concurrency")


async def page_of(replica: Replica, path: str, cookie: str = "") -> str:
    answer = await read(replica, path, cookie)
    assert answer.status == 200, answer.body.decode()
    return answer.body.decode()


async def act(replica: Replica, action: str, **fields: str) -> Answer:
    """Send a form of the page, without a session."""
    return await send(replica, f"{HERE}/{action}", fields, Sec_Fetch_Site="same-origin")


async def settings_of(replica: Replica) -> dict[str, Any]:
    shown: dict[str, Any] = (await replica.get("/v1/workspaces/project/ws")).json["settings"]
    return shown


def field(page: str, name: str) -> str:
    """Return the input of a setting, as HTML."""
    found = re.search(rf'<input name="{name}"[^>]*>', page)
    assert found is not None
    return found[0]


async def test_workspaces_are_found_by_a_part_of_their_names_page_by_page(replica: Replica) -> None:
    """Whatever its case, in project or name; each is on one page, with what waits in it."""
    for number in range(53):
        await replica.accept(body("1", "2", workspace=f"Team-{number:02}"))
    await replica.accept(body("1", workspace="other"))
    first = await page_of(replica, "/workspaces?name=TEAM")
    following = re.search(r'href="([^"]*page_token=[^"]*)"', first)
    assert following is not None
    second = await page_of(replica, following[1].replace("&amp;", "&"))

    found = re.findall(r'href="/workspaces/project/([^"]+)"', first + second)
    assert found == [f"Team-{number:02}" for number in range(53)]
    assert '<td class="n">2</td>' in first
    assert 'href="/workspaces/project/other"' in await page_of(replica, "/workspaces?name=project/o")
    assert "No workspace matches" in await page_of(replica, "/workspaces?name=nobody%25")


async def test_settings_are_kept_and_an_empty_field_is_the_deployments_again(replica: Replica) -> None:
    """The form has what is the workspace's own, and the defaults behind it; the trail says who and why."""
    await replica.accept(body("1", workspace="ws"))
    kept = await act(
        replica, "settings", max_items="20", rate="0.5", quiet_seconds="0", reason="a slow workspace"
    )
    page = await page_of(replica, HERE)
    first = await settings_of(replica)
    await act(replica, "settings", max_items="", rate="2", linger_seconds=" 1.5 ")
    second = await settings_of(replica)
    (entry, *_) = (await replica.get("/v1/audit-log?action=workspace.settings_changed")).json["entries"][::-1]

    assert (kept.status, kept.headers["Location"]) == (303, HERE)
    assert "release_notice=settings_kept" in kept.headers["Set-Cookie"]
    assert 'value="20"' in field(page, "max_items")
    assert 'value="0"' in field(page, "quiet_seconds")
    assert 'value=""' in field(page, "linger_seconds")
    assert 'placeholder="2"' in field(page, "linger_seconds")
    assert [first[name] for name in SETTINGS] == [20, 0, 2, 0.5, 0]
    assert [second[name] for name in SETTINGS] == [100, 0.2, 1.5, 2, 0]
    assert entry["reason"] == "a slow workspace"
    assert "<strong>2</strong>" in await page_of(replica, "/workspaces")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("max_items", "0"),
        ("max_items", "101"),
        ("max_items", "2.5"),
        ("quiet_seconds", "-1"),
        ("linger_seconds", "soon"),
        ("rate", "nan"),
        ("rate", "inf"),
        ("concurrency", "1e9"),
        ("concurrency", "9" * 500),
    ],
)
async def test_a_wrong_setting_is_explained_beside_its_field(replica: Replica, name: str, given: str) -> None:
    """What was filled in stays, also in the good fields, and nothing is changed."""
    other = "rate" if name != "rate" else "max_items"
    before = await settings_of(replica)
    answer = await act(replica, "settings", **{name: given, other: "7"})
    page = answer.body.decode()

    assert answer.status == 422
    assert 'aria-invalid="true"' in field(page, name)
    assert f'value="{given}"' in field(page, name)
    assert 'value="7"' in field(page, other)
    assert "aria-invalid" not in field(page, other)
    assert page.index('id="stream"') < page.index('<h2 id="settings">'), "what is filled in is not shown anew"
    assert re.search(rf'<span id="hint-{name}" class="flaw">Expected [^<]+</span>', page) is not None
    assert await settings_of(replica) == before


async def test_a_workspace_is_paused_resumed_and_flushed_with_a_reason(replica: Replica) -> None:
    """The page shows the pause and its reason, offers to resume, and all of it is in the trail."""
    await replica.accept(body("1", workspace="ws"))
    answers = [await act(replica, "pause", reason="month end")]
    paused = await page_of(replica, HERE)
    listed = await page_of(replica, "/workspaces")
    answers += [await act(replica, action) for action in ("flush", "resume")]
    resumed = await page_of(replica, HERE)
    entries = (await replica.get("/v1/audit-log")).json["entries"]

    assert [(answer.status, answer.headers["Location"]) for answer in answers] == [(303, HERE)] * 3
    for page in (paused, listed):
        assert "s-paused" in page
        assert "month end" in page
    assert f'action="{HERE}/resume"' in paused
    assert f'action="{HERE}/pause"' not in paused
    assert f'action="{HERE}/pause"' in resumed
    trail = {entry["action"]: entry["reason"] for entry in entries}
    assert trail == {"workspace.paused": "month end", "workspace.flushed": None, "workspace.resumed": None}
    too_long = await act(replica, "pause", reason="x" * 1_001)
    assert too_long.status == 422


async def test_viewers_settle_nothing_and_see_no_other_workspace(
    start_replica: StartReplica, database_url: str
) -> None:
    """A viewer sees the settings without a form and is refused; other workspaces are not there."""
    guarded = await start_replica(RELEASE_AUTH="keys")
    admin, _ = await make_key(database_url, "admin")
    viewer, _ = await make_key(database_url, "read", workspaces=["*/ws"])
    other, _ = await make_key(database_url, "read", "operate", workspaces=["*/other"])
    await guarded.accept(body("1", workspace="ws"), Authorization=f"Bearer {admin}")
    reads, elsewhere = [session_of(await log_in(guarded, key)) for key in (viewer, other)]

    async def pause(cookie: str) -> int:
        fields = {"form_token": await form_token(guarded, cookie)}
        answer = await send(guarded, f"{HERE}/pause", fields, Cookie=cookie, Sec_Fetch_Site="same-origin")
        return answer.status

    page = await page_of(guarded, HERE, reads)
    assert f'action="{HERE}' not in page
    assert "Items a batch" in page
    assert HERE in await page_of(guarded, "/workspaces", reads)
    assert HERE not in await page_of(guarded, "/workspaces", elsewhere)
    assert (await read(guarded, HERE, elsewhere)).status == 404
    assert [await pause(cookie) for cookie in (reads, elsewhere)] == [403, 404]
    assert "s-paused" not in await page_of(guarded, HERE, reads)
