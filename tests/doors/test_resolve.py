"""An operator's decision over HTTP: what is refused, who may decide, and what an outage of Postgres leaves."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.commands.keys import create_key
from service.core.ids import new_id
from service.embedded.postgres import EmbeddedPostgres
from tests.doors.conftest import StartReplica
from tests.support.api import Answer, Api, Replica, running_replica
from tests.support.parking import Parker, decision, parking
from tests.support.proxy import PostgresProxy
from tests.support.sql import fetch_value
from tests.support.stack import body

PROJECT = {"RELEASE_PROJECT_ID": "p"}
COUNT_TRAIL = "SELECT count(*) FROM audit_log WHERE action = 'batch.resolved'"


@pytest.fixture
async def parker(database_url: str, redis_url: str) -> AsyncIterator[Parker]:
    """What brings requests to where an operator has to decide."""
    async with parking(database_url, redis_url) as parker:
        yield parker


@pytest.fixture
async def here(start_replica: StartReplica) -> Replica:
    """A replica without API keys, and with a project."""
    return await start_replica(**PROJECT)


async def decide(api: Api, batch_id: str, sent: object, **headers: str) -> Answer:
    """Send a decision: bytes as they are, anything else as JSON."""
    return await api.send("POST", f"/v1/batches/{batch_id}/resolve", sent, **headers)


BAD_DECISIONS: dict[str, tuple[object, list[str]]] = {
    "nothing": ({}, ["/decision", "/reason"]),
    "no object": ([], [""]),
    "no reason": ({"decision": "resend"}, ["/reason"]),
    "an empty reason": (decision("resend", reason=""), ["/reason"]),
    "a blank reason": (decision("resend", reason=" \n"), ["/reason"]),
    "a long reason": (decision("resend", reason="x" * 1_001), ["/reason"]),
    "an unknown decision": (decision("retry"), ["/decision"]),
    "released without a package": (decision("released"), ["/release_package_id"]),
    "released without anything": ({"decision": "released"}, ["/reason", "/release_package_id"]),
    "an empty package": (decision("released", release_package_id=""), ["/release_package_id"]),
    "a package that is no id": (decision("released", release_package_id="a/b"), ["/release_package_id"]),
    "a package as a number": (decision("released", release_package_id=5), ["/release_package_id"]),
    "a package resent": (decision("resend", release_package_id="5"), ["/release_package_id"]),
    "a package rejected": (decision("rejected", release_package_id="5"), ["/release_package_id"]),
    "an unknown member": (decision("resend", colour="red"), ["/colour"]),
}


async def test_what_is_wrong_with_a_decision_is_said_at_once(here: Replica, parker: Parker) -> None:
    """Each bad body is 422 with all its pointers, and the batch still waits."""
    request = await here.accept(body("1"))
    batch_id = await parker.park(request)
    answers = {name: await decide(here, batch_id, sent) for name, (sent, _) in BAD_DECISIONS.items()}

    assert {name: answer.code for name, answer in answers.items()} == dict.fromkeys(
        BAD_DECISIONS, "invalid-request"
    )
    assert {
        name: sorted(error["pointer"] for error in answer.json["errors"]) for name, answer in answers.items()
    } == {name: pointers for name, (_, pointers) in BAD_DECISIONS.items()}
    assert (await here.show(request["id"]))["state"] == "needs_attention"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"{", 400, "malformed-json"),
        (b'{"decision": "resend", "decision": "resend", "reason": "x"}', 400, "malformed-json"),
        (b'{"decision": "resend", "reason": "\\u0000"}', 400, "malformed-json"),
    ],
)
async def test_a_body_that_cannot_be_read_decides_nothing(
    here: Replica, parker: Parker, sent: bytes, status: int, code: str
) -> None:
    """It is refused as everywhere."""
    batch_id = await parker.park(await here.accept(body("1")))
    answer = await decide(here, batch_id, sent)

    assert (answer.status, answer.code) == (status, code)


async def test_only_a_batch_that_waits_can_be_resolved(here: Replica, parker: Parker) -> None:
    """A second decision is 409 and says where the batch stands; an unknown batch is 404."""
    request = await here.accept(body("1"))
    batch_id = await parker.park(request)
    first = await decide(here, batch_id, decision("released", release_package_id="7"))
    second = await decide(here, batch_id, decision("rejected"))
    unknown = [await decide(here, other, decision("rejected")) for other in (str(new_id()), "x")]

    assert first.status == 200
    assert (second.status, second.code, second.json["state"]) == (409, "not-resolvable", "released")
    assert [answer.code for answer in unknown] == ["not-found", "not-found"]
    assert (await here.show(request["id"]))["items"][0]["release_package_id"] == "7"


async def test_a_package_belongs_to_one_batch(here: Replica, parker: Parker) -> None:
    """The id of another batch's package is refused with that batch's id; in another workspace ids are others."""
    first = await parker.park(await here.accept(body("1")))
    second = await parker.park(await here.accept(body("2")))
    elsewhere = await parker.park(await here.accept(body("3", workspace="ws-2")))
    named = decision("released", release_package_id="7")
    answers = [await decide(here, batch_id, named) for batch_id in (first, second, elsewhere)]

    assert [answer.status for answer in answers] == [200, 422, 200]
    assert answers[1].json["errors"][0]["code"] == "package-of-another-batch"
    assert first in answers[1].json["errors"][0]["detail"]


async def test_a_decision_is_in_the_audit_trail_and_the_timeline(here: Replica, parker: Parker) -> None:
    """Who, what, why, before and after; the timeline names the decision."""
    request = await here.accept(body("1"))
    batch_id = await parker.park(request)
    await decide(here, batch_id, decision("rejected"), X_Request_Id="op-1")
    (entry,) = (await here.get("/v1/audit-log?action=batch.resolved")).json["entries"]
    events = (await here.get(f"/v1/release-requests/{request['id']}/events")).json["events"]

    assert entry["target"] == batch_id
    assert (entry["actor"], entry["reason"], entry["request_id"]) == (
        "everybody",
        "looked into the console",
        "op-1",
    )
    assert entry["before"]["state"] == "needs_attention"
    assert entry["before"]["error"]["code"] == "in-doubt"
    assert (entry["after"]["state"], entry["after"]["decision"]) == ("rejected", "rejected")
    assert events[-1]["type"] == "request.rejected"
    assert (events[-1]["detail"]["decision"], events[-1]["detail"]["resolved_by"]) == (
        "rejected",
        "everybody",
    )


async def make_key(database_url: str, scope: str, workspace: str) -> str:
    created = await create_key(
        database_url, name="ops", scopes=(scope,), workspaces=(workspace,), expires_in=None
    )
    return created.api_key


async def test_an_operator_decides_in_own_workspaces(
    start_replica: StartReplica, here: Replica, database_url: str, parker: Parker
) -> None:
    """A key without operate is 403, one of another workspace finds nothing, and its name is in the trail."""
    guarded = await start_replica(RELEASE_AUTH="keys", **PROJECT)
    batch_id = await parker.park(await here.accept(body("1", workspace="w")))
    keys = [
        await make_key(database_url, scope, workspace)
        for scope, workspace in (("read", "*"), ("submit", "*"), ("operate", "p/other"), ("operate", "p/w"))
    ]
    answers = [await decide(guarded, batch_id, decision("rejected"), X_Auth_Token=key) for key in keys]
    (entry,) = (await here.get("/v1/audit-log?action=batch.resolved")).json["entries"]

    assert [answer.status for answer in answers] == [403, 403, 404, 200]
    assert entry["actor"].startswith("ops (")


async def test_without_postgres_nothing_is_decided(
    own_database_url: str, own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    """The answer is 503, and after its return the batch still waits, so that the decision can be made again."""
    settings = {"RELEASE_DATABASE_URL": own_database_url, "RELEASE_REDIS_URL": redis_url, **PROJECT}
    async with running_replica(settings) as replica, parking(own_database_url, redis_url) as parker:
        batch_id = await parker.park(await replica.accept(body("1")))
        await own_postgres.stop()
        away = await decide(replica, batch_id, decision("rejected"))
        await own_postgres.start()
        shown = await replica.get(f"/v1/batches/{batch_id}")
        again = await decide(replica, batch_id, decision("rejected"))

        assert (away.status, away.code) == (503, "unavailable")
        assert shown.json["state"] == "needs_attention"
        assert again.status == 200
        assert await fetch_value(own_database_url, COUNT_TRAIL) == 1


@pytest.mark.parametrize("cuts_messages", [False, True], ids=["answer lost", "message lost"])
async def test_a_decision_whose_commit_is_unknown_is_made_once(
    proxy: PostgresProxy, database_url: str, redis_url: str, *, cuts_messages: bool
) -> None:
    """Whether the commit or only its answer was lost, the operator hears 200, and there is one entry in the trail."""
    settings = {"RELEASE_DATABASE_URL": proxy.url, "RELEASE_REDIS_URL": redis_url, **PROJECT}
    async with running_replica(settings) as replica, parking(database_url, redis_url) as parker:
        request = await replica.accept(body("1"))
        batch_id = await parker.park(request)
        proxy.cuts_messages = cuts_messages
        proxy.lose_answers_to(b"COMMIT", one_in=1_000)
        answer = await decide(replica, batch_id, decision("released", release_package_id="7"))
        proxy.lose_none()
        shown: dict[str, Any] = await replica.show(request["id"])

        assert proxy.lost == 1
        assert answer.status == 200
        assert shown["state"] == "released"
        assert await fetch_value(database_url, COUNT_TRAIL) == 1
