"""The audit in the console: the trail as a readable difference, and the rules, checked now."""

import html
import re
from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest

from service.core.auditing import PROMISES, Rule
from service.doors.console.audit import ACTIONS
from service.doors.console.difference import Change, changes_between
from service.doors.console.words import load_words
from tests.doors.conftest import StartReplica
from tests.doors.test_console import log_in, make_key, read, send, session_of
from tests.support.api import REQUESTS, Replica
from tests.support.sql import fetch_rows, fetch_value
from tests.support.stack import body
from tests.support.waiting import eventually

LATER = "2100-01-01T00:00:00Z"


def text_of(page: str) -> str:
    """Return what a reader sees of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


async def test_the_trail_says_who_did_what_to_what_and_what_changed(replica: Replica) -> None:
    """One row an action, the newest first, with the members that differ and a way to what was acted on."""
    request_id = (await replica.accept(body("1", not_before=LATER)))["id"]
    await replica.send("POST", f"{REQUESTS}/{request_id}/cancel", {"reason": "wrong <month>"})
    place = "/v1/workspaces/project/ws-1"
    await replica.send("PUT", f"{place}/settings", {"rate": 5, "reason": "they asked"})
    await replica.send("PUT", f"{place}/settings", {"rate": 2})
    page = (await read(replica, "/audit")).body.decode()
    rows = [text_of(row) for row in re.findall(r'<tr id="a-.*?</tr>', page, re.DOTALL)]

    assert len(rows) == 3
    assert re.search(r"Workspace settings changed .*rate 5(\.0)? → 2", rows[0])
    assert "they asked" in rows[1]
    assert "Request cancelled" in rows[2]
    assert "state accepted → cancelled" in rows[2]
    assert "wrong <month>" in rows[2]
    assert f'href="/requests/{request_id}"' in page


async def test_the_trail_is_filtered_and_goes_page_by_page(replica: Replica, database_url: str) -> None:
    """By action and by target; each entry is on one page, and the address is the filter."""
    await fetch_value(
        database_url,
        """
        INSERT INTO audit_log (id, actor, action, target)
        SELECT gen_random_uuid(), 'x', 'workspace.paused', 'p/w-' || n % 2 FROM generate_series(1, 130) AS n
        """,
    )
    first = (await read(replica, "/audit?action=workspace.paused&target=p%2Fw-1")).body.decode()
    found = re.search(r'href="(/audit\?[^"]*page_token=[^"]*)"', first)
    assert found is not None
    second = (await read(replica, html.unescape(found[1]))).body.decode()
    ids = re.findall(r'<tr id="a-([0-9a-f-]{36})"', first + second)
    wanted = await fetch_rows(database_url, "SELECT id::text FROM audit_log WHERE target = 'p/w-1'")

    assert sorted(ids) == sorted(row["id"] for row in wanted)
    assert "No entry matches." in (await read(replica, "/audit?action=key.created")).body.decode()
    assert (await read(replica, "/audit?target=%00")).status == 400


async def test_an_admin_of_one_workspace_sees_its_actions_only(
    start_replica: StartReplica, database_url: str
) -> None:
    """And may not audit, since the audit tells of every workspace; who is no admin gets neither."""
    replica = await start_replica(RELEASE_AUTH="keys")
    admin, _ = await make_key(database_url, "admin")
    for workspace in ("ours", "theirs"):
        await replica.send(
            "POST", f"/v1/workspaces/project/{workspace}/pause", {}, Authorization=f"Bearer {admin}"
        )
    ours, _ = await make_key(database_url, "admin", workspaces=["project/ours"])
    operator, _ = await make_key(database_url, "read", "operate")
    cookies = [session_of(await log_in(replica, key)) for key in (admin, ours, operator)]
    pages = [await read(replica, "/audit", cookie) for cookie in cookies]
    reports = [(await read(replica, "/audit/report", cookie)).status for cookie in cookies]

    assert [page.status for page in pages] == [200, 200, 403]
    assert "theirs" in pages[0].body.decode()
    assert "theirs" not in pages[1].body.decode()
    assert "/audit/report" not in pages[1].body.decode()
    assert reports == [200, 403, 403]


async def report(replica: Replica, **headers: str) -> str:
    return text_of((await read(replica, "/audit/report", **headers)).body.decode())


async def finished_report(replica: Replica) -> str:
    """Ask for an audit, and return what it found, as the page does that shows itself anew."""

    async def finished() -> str | None:
        shown = await report(replica, HX_Request="true")
        return None if "An audit runs." in shown else shown

    await report(replica)
    return await eventually(finished) or ""


async def test_the_audit_names_the_rows_that_break_a_rule(replica: Replica, database_url: str) -> None:
    """Where all holds it says so, for a minute without another audit; a damaged row is named under its rule."""
    request_id = (await replica.accept(body("1")))["id"]
    clean = await finished_report(replica)
    await fetch_value(
        database_url,
        "UPDATE release_requests SET state = 'released', finished_at = now() WHERE id = $1::uuid",
        request_id,
    )
    kept = await finished_report(replica)
    await send(replica, "/audit/report", {}, Sec_Fetch_Site="same-origin")
    wrong = await finished_report(replica)

    assert "Every rule holds." in clean
    assert "Violated" not in clean
    assert kept == clean
    assert "Every rule holds." not in wrong
    assert request_id in wrong[wrong.index("A6") :]
    assert "batch-release audit --vendor" in wrong


async def test_no_page_waits_for_an_audit_that_takes_long(replica: Replica, database_url: str) -> None:
    """Who asks meanwhile is told that it runs, and begins no other; then its result is there."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE")
            first, second = await report(replica), await report(replica)
            audits = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
    finally:
        await connection.close()

    assert "An audit runs." in first
    assert "An audit runs." in second
    assert "Every rule holds." not in first
    assert audits == 1
    assert "Every rule holds." in await finished_report(replica)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (None, None, []),
        ({"state": "accepted"}, {"state": "cancelled"}, [("state", "accepted", "cancelled")]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, [("b", "2", "3")]),
        (None, {"scopes": ["read", "submit"]}, [("scopes", None, "read, submit")]),
        (
            {"settings": {"rate": 1, "quiet": None}},
            {"settings": {"rate": None, "quiet": None}},
            [("settings.rate", "1", "null")],
        ),
        (
            {"on": True, "l": [1]},
            {"on": False, "l": [1, {"x": "ä"}]},
            [("on", "true", "false"), ("l", "[1]", '[1, {"x": "ä"}]')],
        ),
        ({"x": {}}, {}, [("x", "{}", None)]),
    ],
    ids=str,
)
def test_a_difference_has_what_changed_and_nothing_else(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    changes: list[tuple[str, str | None, str | None]],
) -> None:
    """Member by member, whatever is in them."""
    assert changes_between(before, after) == [
        Change(name=name, before=old, after=new) for name, old, new in changes
    ]


def test_every_rule_and_every_action_has_its_words() -> None:
    """The promises are those of the audit, and each action that the filter offers has a name."""
    texts = load_words()["en"].texts
    promises = {rule: texts[f"rule.{rule}"].rstrip(".").lower() for rule in Rule}

    assert promises == {rule: promise.lower() for rule, promise in PROMISES.items()}
    assert {f"action.{action}" for action in ACTIONS} == {
        name for name in texts if name.startswith("action.")
    }
