"""Many requests at once in the console: a look beforehand, a reason, and what became of each."""

import re
from urllib.parse import quote, urlencode

import pytest

from service.commands.keys import create_api_key
from service.core.key_orders import KeyOrder
from service.flow.operations import act_on_next
from tests.doors.conftest import StartReplica
from tests.doors.test_console import form_token, log_in, make_key, read, send, session_of
from tests.support.api import REQUESTS, Answer, Replica
from tests.support.sql import fetch_rows, fetch_value
from tests.support.stack import body

TICKED = "/requests/ticked"
LATER = "2100-01-01T00:00:00Z"
OF_THIS_SITE = {"Sec_Fetch_Site": "same-origin"}


async def submit(replica: Replica, path: str, fields: list[tuple[str, str]]) -> Answer:
    """Send a form in which a name may stand several times."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    return await replica.ask("POST", path, data=urlencode(fields), headers=headers)


def ids_of(page: str, name: str = "id") -> list[str]:
    return re.findall(rf'<input type="hidden" name="{name}" value="([^"]*)">', page)


def why_of(page: str, request_id: str) -> str:
    row = page[page.index(f'<tr id="r-{request_id}"') :]
    return row[: row.index("</tr>")]


async def fail(database_url: str, request_id: str, **also: str) -> None:
    """Have a request that waits be one that failed, as if its attempts were used up."""
    sets = "".join(f", {name} = {value}" for name, value in also.items())
    await fetch_value(
        database_url,
        f"UPDATE release_requests SET state = 'failed', finished_at = now(){sets} WHERE id = $1::uuid",  # noqa: S608 - the test's own text
        request_id,
    )
    await fetch_value(
        database_url, "UPDATE release_items SET state = 'expired' WHERE request_id = $1::uuid", request_id
    )


async def test_what_is_ticked_is_shown_before_and_acted_on_once(replica: Replica, database_url: str) -> None:
    """The look says of each whether it can be cancelled and changes nothing; the form cancels those."""
    waits = [(await replica.accept(body(str(n), not_before=LATER)))["id"] for n in range(3)]
    cancelled, failed = [(await replica.accept(body(f"x{n}", not_before=LATER)))["id"] for n in range(2)]
    await replica.send("POST", f"{REQUESTS}/{cancelled}/cancel", {})
    await fail(database_url, failed)
    strange = "01900000-0000-7000-8000-000000000000"
    ticked = [*waits[:2], cancelled, failed, strange]
    before = await fetch_value(database_url, "SELECT count(*) FROM audit_log")
    page = (
        await read(replica, f"{TICKED}?{urlencode([('action', 'cancel'), *(('id', one) for one in ticked)])}")
    ).body.decode()

    assert ids_of(page) == waits[:2]
    assert "2 of 5 requests end" in page
    assert "Can be cancelled" in why_of(page, waits[0])
    assert "Cancelled already" in why_of(page, cancelled)
    assert "A call was made, or it is done" in why_of(page, failed)
    assert "Not there" in why_of(page, strange)
    assert await fetch_value(database_url, "SELECT count(*) FROM audit_log") == before

    fields = [("action", "cancel"), ("reason", "wrong month"), *(("id", one) for one in waits[:2])]
    done = await submit(replica, TICKED, [*fields, ("id", failed)])
    result = (await read(replica, done.headers["Location"])).body.decode()

    assert done.status == 303
    assert "2 cancelled." in result
    assert "1 could not be acted on." in result
    assert "Done" in why_of(result, waits[0])
    assert "A call was made, or it is done" in why_of(result, failed)
    states = [(await replica.show(one))["state"] for one in (*waits, failed)]
    assert states == ["cancelled", "cancelled", "accepted", "failed"]
    rows = await fetch_rows(database_url, "SELECT target FROM audit_log WHERE reason = 'wrong month'")
    assert {row["target"] for row in rows} == set(waits[:2])


async def test_why_a_request_cannot_be_retried_is_foreseen_as_it_comes(
    replica: Replica, database_url: str
) -> None:
    """A deadline that has passed and an item that others hold by now are told before, and are what acting finds."""
    failed = [(await replica.accept(body(one, not_before=LATER)))["id"] for one in "abcde"]
    free, late, held, held_too, shared = failed
    for one in failed:
        await fail(database_url, one)
    await fail(database_url, late, deadline="now() - interval '1 hour'")
    others = (
        body("c", not_before=LATER, approver_ids=["somebody"]),
        body("d", applicant="eve", not_before=LATER, approver_ids=["approver-of-applicant"]),
        body("e", not_before=LATER),
    )
    holders = [(await replica.accept(other))["id"] for other in others]
    ticked = [("id", one) for one in (*failed, holders[0])]
    page = (await read(replica, f"{TICKED}?{urlencode([('action', 'retry'), *ticked])}")).body.decode()

    assert ids_of(page) == [free, shared]
    assert "Its deadline has passed" in why_of(page, late)
    for one, holder in ((held, holders[0]), (held_too, holders[1])):
        assert "An item is held by" in why_of(page, one)
        assert holder in why_of(page, one)
    assert "Neither failed nor rejected" in why_of(page, holders[0])
    done = await submit(replica, TICKED, [("action", "retry"), *ticked])
    query = done.headers["Location"].partition("?")[2]
    left = [("left", one) for one in (late, held, held_too, holders[0])]
    assert query == urlencode([("action", "retry"), ("done", free), ("done", shared), *left])


async def test_a_key_ticks_only_what_is_its_own(start_replica: StartReplica, database_url: str) -> None:
    """Whoever may only submit acts on its own requests, whatever ids it sends; others' workspaces are not there."""
    replica = await start_replica(RELEASE_AUTH="keys")
    admin, _ = await make_key(database_url, "admin")
    mine, _ = await make_key(database_url, "read", "submit", workspaces=["*/ws-1"])
    ids = [
        (await replica.accept(body("1", not_before=LATER), Authorization=f"Bearer {mine}"))["id"],
        (await replica.accept(body("2", not_before=LATER), Authorization=f"Bearer {admin}"))["id"],
        (
            await replica.accept(
                body("3", workspace="ws-2", not_before=LATER), Authorization=f"Bearer {admin}"
            )
        )["id"],
    ]
    cookie = session_of(await log_in(replica, mine))
    query = urlencode([("action", "cancel"), *(("id", one) for one in ids)])
    page = (await read(replica, f"{TICKED}?{query}", cookie)).body.decode()

    assert ids_of(page) == ids[:1]
    assert "Handed in by another key" in why_of(page, ids[1])
    assert "Not there" in why_of(page, ids[2])
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Sec-Fetch-Site": "same-origin",
        "Cookie": cookie,
    }
    form = f"form_token={await form_token(replica, cookie)}&{query}"
    done = await replica.ask("POST", TICKED, data=form, headers=headers)
    assert f"done={ids[0]}&left={ids[1]}&left={ids[2]}" in done.headers["Location"]
    assert (await read(replica, "/operations/new?action=cancel&workspace=ws-1", cookie)).status == 403


@pytest.mark.parametrize(
    "query", ["action=delete&id=", "action=cancel&id=x", "action=cancel" + "&id=%d" * 101], ids=repr
)
async def test_what_cannot_be_ticked_is_refused(replica: Replica, query: str) -> None:
    """Another action, an id that is none, and more than a page has."""
    given = query % tuple(range(101)) if "%d" in query else query

    assert (await read(replica, f"{TICKED}?{given}")).status == 400


async def test_nothing_ticked_is_said(replica: Replica) -> None:
    """Without scripts the buttons are there before anything is ticked."""
    page = await read(replica, f"{TICKED}?action=retry")

    assert page.status == 200
    assert "No request is ticked." in page.body.decode()


async def test_all_that_match_are_counted_first_and_acted_on_by_workers(
    replica: Replica, database_url: str
) -> None:
    """The page of the filter shows the count and carries it; the operation's page shows its progress to the end."""
    ids = [
        (await replica.accept(body(str(n), not_before=LATER, labels={"run": "7"})))["id"] for n in range(12)
    ]
    await replica.accept(body("other", not_before=LATER))
    listed = (await read(replica, "/requests?state=&label=run%3D7")).body.decode()
    assert '/operations/new?action=cancel&amp;label=run%3D7"' in listed
    page = (await read(replica, "/operations/new?action=cancel&label=run%3D7")).body.decode()
    assert (ids_of(page, "expect"), ids_of(page, "label")) == (["12"], ["run=7"])
    assert "The newest 10 of 12" in page

    fields = {"action": "cancel", "label": "run=7", "expect": "12", "reason": "wrong month"}
    started = await send(replica, "/operations", fields, **OF_THIS_SITE)
    assert started.status == 303
    path = started.headers["Location"]
    for _ in range(5):
        assert await act_on_next(replica.deps, replica.intake)
    halfway = (await read(replica, path)).body.decode()
    assert "5 of 12" in halfway
    assert 'class="good" x="0" y="0" width="416.7"' in halfway
    assert f"{path}/abort" in halfway
    assert "/requests?label=run%3D7" in halfway
    while await act_on_next(replica.deps, replica.intake):
        pass
    assert {(await replica.show(one))["state"] for one in ids} == {"cancelled"}
    reasons = "SELECT count(*) FROM audit_log WHERE reason = 'wrong month'"
    assert await fetch_value(database_url, reasons) == 13


async def test_an_operation_is_stopped_on_its_page(replica: Replica) -> None:
    """What was done stays done; stopping it twice is told."""
    for number in range(3):
        await replica.accept(body(str(number), not_before=LATER))
    fields = {"action": "cancel", "workspace": "ws-1", "expect": "3", "reason": "x"}
    path = (await send(replica, "/operations", fields, **OF_THIS_SITE)).headers["Location"]
    await act_on_next(replica.deps, replica.intake)
    stopped = await send(replica, f"{path}/abort", {"reason": "enough"}, **OF_THIS_SITE)
    again = await send(replica, f"{path}/abort", {}, **OF_THIS_SITE)
    page = (await read(replica, path)).body.decode()

    assert (stopped.status, stopped.headers["Location"], again.status) == (303, path, 409)
    assert "s-aborted" in page
    assert "1 of 3" in page
    assert f"{path}/abort" not in page
    assert not await act_on_next(replica.deps, replica.intake)


async def test_other_matches_than_were_shown_start_nothing(replica: Replica, database_url: str) -> None:
    """The look is shown again, with the count that is right by now."""
    for number in range(3):
        await replica.accept(body(str(number), not_before=LATER))
    fields = {"action": "cancel", "workspace": "ws-1", "expect": "2", "reason": "x"}
    answer = await send(replica, "/operations", fields, **OF_THIS_SITE)

    assert (answer.status, answer.headers["Location"]) == (
        303,
        "/operations/new?action=cancel&workspace=ws-1",
    )
    assert await fetch_value(database_url, "SELECT count(*) FROM operations") == 0
    page = (await read(replica, answer.headers["Location"], "release_notice=count_changed")).body.decode()
    assert "Other requests match by now" in page
    assert ids_of(page, "expect") == ["3"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"workspace": ""}, "Expected a filter"),
        ({"state": "lost"}, "Expected state to be one of"),
        ({"reason": " "}, "Expected a reason"),
        ({"expect": ""}, "Expected the count"),
        ({"expect": "²"}, "Expected the count"),
        ({"action": "delete"}, "Expected action to be cancel or retry"),
    ],
    ids=repr,
)
async def test_a_bad_order_is_refused_with_a_sentence(
    replica: Replica, database_url: str, changed: dict[str, str], sentence: str
) -> None:
    """An empty filter above all: without one everything would match."""
    fields = {"action": "retry", "workspace": "ws-1", "expect": "0", "reason": "x", **changed}
    answer = await send(replica, "/operations", fields, **OF_THIS_SITE)

    assert answer.status == 400
    assert sentence in answer.body.decode()
    assert await fetch_value(database_url, "SELECT count(*) FROM operations") == 0


async def test_a_look_without_a_filter_says_what_is_missing(replica: Replica) -> None:
    """Neither a count nor a form: every request would match."""
    answer = await read(replica, "/operations/new?action=cancel")

    assert answer.status == 400
    assert "Expected a filter" in answer.body.decode()
    assert ids_of(answer.body.decode(), "expect") == []


async def test_a_key_of_applicants_retries_nobody_elses(
    start_replica: StartReplica, database_url: str
) -> None:
    """What matches may be of many applicants, so such a key is refused, as in the API."""
    replica = await start_replica(RELEASE_AUTH="keys")
    order = KeyOrder(name="bound", scopes=["read", "operate"], workspaces=["*"], apply_user_ids=["u1"])
    bound = (await create_api_key(database_url, order)).api_key
    cookie = session_of(await log_in(replica, bound))
    refused = await read(replica, "/operations/new?action=retry&workspace=ws-1", cookie)
    allowed = await read(replica, "/operations/new?action=cancel&workspace=ws-1", cookie)
    fields = {
        "form_token": await form_token(replica, cookie),
        "action": "retry",
        "workspace": "ws-1",
        "expect": "0",
        "reason": "x",
    }
    sent = await send(replica, "/operations", fields, Cookie=cookie, **OF_THIS_SITE)

    assert (refused.status, allowed.status, sent.status) == (403, 200, 403)


async def test_an_operation_of_another_key_is_not_there(
    start_replica: StartReplica, database_url: str
) -> None:
    """Whoever ordered it sees it, and so does an admin of all workspaces."""
    replica = await start_replica(RELEASE_AUTH="keys")
    cookies = [
        session_of(await log_in(replica, (await make_key(database_url, "read", *scopes))[0]))
        for scopes in (("operate",), ("operate",), ("admin",))
    ]
    fields = {
        "form_token": await form_token(replica, cookies[0]),
        "action": "cancel",
        "workspace": quote("ws-1"),
        "expect": "0",
        "reason": "x",
    }
    path = (await send(replica, "/operations", fields, Cookie=cookies[0], **OF_THIS_SITE)).headers["Location"]

    assert [(await read(replica, path, cookie)).status for cookie in cookies] == [200, 404, 200]
    lists = [(await read(replica, "/operations", cookie)).body.decode() for cookie in cookies]
    assert [f'href="{path}"' in page for page in lists] == [True, False, True]
