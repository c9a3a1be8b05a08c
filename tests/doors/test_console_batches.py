"""Batches in the console: lists, one batch with all that is known of it, and decisions of operators."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.doors.console.evidence import Evidence
from tests.doors.conftest import StartReplica
from tests.doors.test_console import form_token, log_in, make_key, read, send, session_of
from tests.main_job.conftest import StackWith
from tests.support.api import Answer, Replica
from tests.support.grown import grow
from tests.support.parking import Parker, parking
from tests.support.stack import body

PROJECT = {"RELEASE_PROJECT_ID": "p"}
NOWHERE = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
async def parker(database_url: str, redis_url: str) -> AsyncIterator[Parker]:
    """What brings requests to where an operator has to decide."""
    async with parking(database_url, redis_url) as parker:
        yield parker


@pytest.fixture
async def here(start_replica: StartReplica) -> Replica:
    """A replica without API keys, and with a project."""
    return await start_replica(**PROJECT)


async def page_of(replica: Replica, path: str, cookie: str = "") -> str:
    answer = await read(replica, path, cookie)
    assert answer.status == 200, answer.body.decode()
    return answer.body.decode()


async def decide(replica: Replica, batch_id: str, **fields: str) -> Answer:
    """Send the form of a decision, without a session."""
    return await send(replica, f"/batches/{batch_id}/resolve", fields, Sec_Fetch_Site="same-origin")


async def test_batches_go_page_by_page_and_their_address_is_their_state(
    replica: Replica, database_url: str
) -> None:
    """Each batch of a filter is on one page, the newest first; a wrong filter is explained beside the form."""
    await grow(database_url, requests=1_400)
    first = await page_of(replica, "/batches?project_id=project&state=released")
    following = re.search(r'href="([^"]*page_token=[^"]*)"', first)
    assert following is not None
    second = await page_of(replica, following[1].replace("&amp;", "&"))
    ids = re.findall(r'<tr id="b-([0-9a-f-]{36})"', first + second)
    wrong = await read(replica, "/batches?state=lost")

    assert len(ids) == len(set(ids)) > 50
    assert ids == sorted(ids, reverse=True)
    assert "s-failed" not in first + second
    assert 'value="project"' in second
    assert wrong.status == 400
    assert "Expected state to be one of sealed," in wrong.body.decode()
    assert "No batch matches" in await page_of(replica, "/batches?workspace=none")
    for path in (
        "/batches?workspace=%00",
        "/workspaces?name=%00",
        "/requests?workspace=%00",
        "/batches?workspace=%ff%00",
        "/attention?page_token=%00",
    ):
        assert (await read(replica, path)).status == 400, path


async def test_a_batch_shows_its_call_its_answers_and_its_evidence(here: Replica, parker: Parker) -> None:
    """All that an operator needs to decide is on one page, and nothing that proves who calls."""
    request = await here.accept(body("41", "42", workspace="ws-9"))
    batch_id = await parker.park(request)
    page = await page_of(here, f"/batches/{batch_id}")

    for text in (
        "APIGW.0203",
        "Backend timeout.",
        "r-1",
        "the lists answered 503",
        f"/requests/{request['id']}",
    ):
        assert text in page
    call = re.search(r'<pre id="call-text">(.*?)</pre>', page, re.DOTALL)
    assert call is not None
    assert "POST /v2/p/factory/pending-items/package\n" in call[1]
    assert "Authorization: ***\n" in call[1]
    assert "&#34;pending_item_list&#34;: [&#34;41&#34;, &#34;42&#34;]" in call[1]
    assert [(await read(here, f"/batches/{other}")).status for other in (NOWHERE, "x")] == [410, 404]


async def test_the_parts_of_a_batch_and_the_whole_lead_to_each_other(stack_with: StackWith) -> None:
    """A batch that was parted names its parts, they name it, and its call is shown with the items of all."""
    async with stack_with({"poisoned_items": ["3"]}) as stack:
        await stack.start_api()
        await stack.start_worker()
        request = await stack.submit(body("1", "2", "3", "4"))
        done = await stack.wait_for(request["id"], "partly_released")

        async def page(path: str) -> str:
            async with stack.http.get(stack.url + path) as answer:
                assert answer.status == 200
                return await answer.text()

        part_id = done["items"][0]["batch_id"]
        whole_id = (await stack.batch(part_id))["parent_id"]
        assert f'href="/batches/{whole_id}"' in await page(f"/batches/{part_id}")
        whole = await page(f"/batches/{whole_id}")
        assert f'href="/batches/{part_id}"' in whole
        assert "s-split" in whole
        items = ", ".join(f"&#34;{item}&#34;" for item in "1234")
        assert f"&#34;pending_item_list&#34;: [{items}]" in whole
        assert "has nothing against any item" in whole


async def test_what_needs_an_operator_is_grouped_and_decided_there(here: Replica, parker: Parker) -> None:
    """Each batch is under what the last look saw; a decision leads back to the list with a word of it."""
    request = await here.accept(body("1"))
    batch_id = await parker.park(request)
    shown = await page_of(here, "/attention")
    done = await decide(
        here,
        batch_id,
        decision="released",
        release_package_id="77",
        reason="the console shows it",
        next="/attention",
    )

    assert "The vendor&#39;s lists could not be read" in shown
    assert f"/batches/{batch_id}/resolve" in shown
    assert "This may release twice" in shown
    assert "Backend timeout." in shown
    assert (done.status, done.headers["Location"]) == (303, "/attention")
    assert "release_notice=resolved.released" in done.headers["Set-Cookie"]
    assert "Nothing needs an operator" in await page_of(here, "/attention")
    assert (await here.show(request["id"]))["items"][0]["release_package_id"] == "77"
    page = await page_of(here, f"/batches/{batch_id}")
    assert "the console shows it" in page
    assert "/resolve" not in page


@pytest.mark.parametrize(
    ("decision", "state"), [("resend", "batched"), ("rejected", "rejected")], ids=["resend", "rejected"]
)
async def test_a_decision_on_the_page_of_a_batch_leads_back_to_it(
    here: Replica, parker: Parker, decision: str, state: str
) -> None:
    """It has the effect of the API's."""
    request = await here.accept(body("1"))
    batch_id = await parker.park(request)
    done = await decide(here, batch_id, decision=decision, reason="looked", next=f"/batches/{batch_id}")

    assert (done.status, done.headers["Location"]) == (303, f"/batches/{batch_id}")
    assert (await here.show(request["id"]))["state"] == state


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no reason": ({"decision": "resend", "reason": " "}, "reason: Expected"),
    "no package": ({"decision": "released", "reason": "mine"}, "release_package_id: Expected"),
    "no id": (
        {"decision": "released", "reason": "mine", "release_package_id": "a/b"},
        "release_package_id: Expected",
    ),
    "no decision": ({"decision": "retry", "reason": "mine"}, "decision: Expected"),
    "a package resent": (
        {"decision": "resend", "reason": "mine", "release_package_id": "5"},
        "no package with",
    ),
    "nothing to be kept": ({"decision": "resend", "reason": "mine\x00"}, "without NUL"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_decision_that_cannot_be_is_explained_on_the_page(
    here: Replica, parker: Parker, name: str
) -> None:
    """What is wrong is said, what was filled in stays, and the batch still waits."""
    fields, flaw = WRONG[name]
    batch_id = await parker.park(await here.accept(body("1")))
    answer = await decide(here, batch_id, **fields)
    page = answer.body.decode()

    assert answer.status in (400, 422)
    assert flaw in page
    if fields["decision"] == "released":
        assert '<details class="action" data-form open>' in page
        assert 'value="mine"' in page
    assert f"/batches/{batch_id}/resolve" in await page_of(here, f"/batches/{batch_id}")


async def test_a_decision_that_comes_too_late_or_takes_anothers_package_is_explained(
    here: Replica, parker: Parker
) -> None:
    """The page says where the batch stands, or whose the package is."""
    first = await parker.park(await here.accept(body("1")))
    second = await parker.park(await here.accept(body("2")))
    named = {"decision": "released", "release_package_id": "7", "reason": "seen"}
    answers = [await decide(here, batch_id, **named) for batch_id in (first, first, second)]

    assert [answer.status for answer in answers] == [303, 409, 422]
    assert "this one is released" in answers[1].body.decode()
    assert f"7 is that of batch {first}" in answers[2].body.decode()


async def test_viewers_decide_nothing_and_see_no_other_workspace(
    start_replica: StartReplica, here: Replica, parker: Parker, database_url: str
) -> None:
    """A viewer has no forms and is refused; an operator of another workspace finds nothing."""
    guarded = await start_replica(RELEASE_AUTH="keys", **PROJECT)
    batch_id = await parker.park(await here.accept(body("1", workspace="theirs")))
    cookies: dict[str, str] = {}
    for name, scope, workspace in (("viewer", "read", "p/theirs"), ("other", "operate", "p/ours")):
        scopes = {"read", scope}
        api_key, _ = await make_key(database_url, *scopes, workspaces=[workspace])
        cookies[name] = session_of(await log_in(guarded, api_key))

    async def send_decision(name: str) -> int:
        fields = {
            "form_token": await form_token(guarded, cookies[name]),
            "decision": "rejected",
            "reason": "x",
        }
        answer = await send(
            guarded,
            f"/batches/{batch_id}/resolve",
            fields,
            Cookie=cookies[name],
            Sec_Fetch_Site="same-origin",
        )
        return answer.status

    for path in ("/attention", "/batches", f"/batches/{batch_id}"):
        page = await page_of(guarded, path, cookies["viewer"])
        assert batch_id in page
        assert "/resolve" not in page
    for path in ("/attention", "/batches"):
        assert batch_id not in await page_of(guarded, path, cookies["other"])
    assert (await read(guarded, f"/batches/{batch_id}", cookies["other"])).status == 404
    assert [await send_decision(name) for name in cookies] == [403, 404]
    assert batch_id in await page_of(guarded, "/attention", cookies["viewer"])


@pytest.mark.parametrize("kept", [None, {}, {"release_package_id": "7"}], ids=str)
def test_of_a_call_that_was_answered_there_is_no_evidence_to_show(kept: dict[str, Any] | None) -> None:
    """The package that an answer named stands beside the call."""
    assert Evidence.read(kept) is None


def test_evidence_shows_no_secrets() -> None:
    """What the lists answered may hold what should not be shown."""
    kept = {
        "looks": [{"at": "2026-11-29T12:00:00+00:00", "saw": "unreadable", "reason": "password=hunter22"}]
    }
    evidence = Evidence.read(kept)

    assert evidence is not None
    assert evidence.last_saw == "unreadable"
    assert "hunter22" not in evidence.as_json
