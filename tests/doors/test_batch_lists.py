"""Lists of batches and of what needs an operator: pages, filters, who sees what, and how much is read for it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from service.commands.keys import create_key
from service.core.ids import new_id
from service.core.model import BatchState
from service.gateways.queue import now_ms
from service.gateways.store.batch_lists import LIST_BATCHES, LIST_BATCHES_OF_PLACES, LIST_PARKED
from tests.doors.conftest import StartReplica
from tests.support.api import Api, Replica
from tests.support.parking import Parker, parking
from tests.support.stack import body

BATCHES, ATTENTION = "/v1/batches", "/v1/attention"
PROJECT = {"RELEASE_PROJECT_ID": "p"}


@pytest.fixture
async def parker(database_url: str, redis_url: str) -> AsyncIterator[Parker]:
    """What brings requests to where an operator has to decide."""
    async with parking(database_url, redis_url) as parker:
        yield parker


async def all_pages(api: Api, path: str, name: str, **headers: str) -> list[dict[str, Any]]:
    """Follow a list to its end."""
    rows: list[dict[str, Any]] = []
    token = ""
    joint = "&" if "?" in path else "?"
    while True:
        answer = await api.get(f"{path}{joint}page_size=2&page_token={token}", **headers)
        assert answer.status == 200, answer.body
        page = answer.json
        assert len(page[name]) <= 2
        rows += page[name]
        token = page["next_page_token"]
        if not token:
            return rows


async def insert_batches(database_url: str, states: list[tuple[str, str]], *, copies: int = 1) -> None:
    """Write batches of workspaces in states, past the service."""
    started = now_ms()
    connection = await asyncpg.connect(database_url)
    try:
        await connection.executemany(
            "INSERT INTO batches (id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name,"
            " closed_by, item_count, state, release_package_id, finished_at)"
            " VALUES ($1, $2, 'p', $3, 'u', '{a}', 'n', 'quiet', 1, $4::batch_state,"
            " CASE WHEN $4::batch_state = 'released' THEN 'x' END,"
            " CASE WHEN $4::batch_state IN ('released', 'rejected', 'failed', 'split') THEN now() END)",
            [
                (new_id(now_ms=started + number), new_id(), place, state)
                for number, (place, state) in enumerate(states * copies)
            ],
        )
        await connection.execute("ANALYZE batches")
    finally:
        await connection.close()


async def test_batches_are_listed_newest_first_and_filtered(
    start_replica: StartReplica, database_url: str
) -> None:
    """Every page is of two, each batch is on one page, and filters are obeyed; rows have no members."""
    replica = await start_replica(**PROJECT)
    states = [("w1", "released"), ("w2", "failed"), ("w1", "split"), ("w2", "released"), ("w1", "rejected")]
    await insert_batches(database_url, states)
    every = await all_pages(replica, BATCHES, "batches")
    of_place = await all_pages(replica, f"{BATCHES}?workspace=w1&project_id=p", "batches")
    of_state = await all_pages(replica, f"{BATCHES}?state=released", "batches")
    of_both = await all_pages(replica, f"{BATCHES}?workspace=w2&state=released", "batches")
    of_none = await all_pages(replica, f"{BATCHES}?project_id=q", "batches")

    assert [(row["workspace"], row["state"]) for row in every] == states[::-1]
    assert [row["state"] for row in of_place] == ["rejected", "split", "released"]
    assert [row["workspace"] for row in of_state] == ["w2", "w1"]
    assert [row["workspace"] for row in of_both] == ["w2"]
    assert of_none == []
    assert every[0]["item_count"] == 1
    assert not {"members", "attempts"} & every[0].keys()


async def test_rows_that_come_meanwhile_move_no_page(start_replica: StartReplica, database_url: str) -> None:
    """The second page begins behind the first, whatever was added in between."""
    replica = await start_replica(**PROJECT)
    await insert_batches(database_url, [("w", "released")] * 4)
    first = (await replica.get(f"{BATCHES}?page_size=2")).json
    await insert_batches(database_url, [("w", "failed")] * 3)
    second = (await replica.get(f"{BATCHES}?page_size=2&page_token={first['next_page_token']}")).json
    seen = [row["id"] for row in first["batches"] + second["batches"]]

    assert len(set(seen)) == 4
    assert [row["state"] for row in second["batches"]] == ["released", "released"]
    assert second["next_page_token"] == ""


@pytest.mark.parametrize(
    "query",
    [
        "state=done",
        "state=",
        "page_size=0",
        "page_token=x",
        "page_token=W10",
        "colour=red",
        "state=split&state=split",
    ],
)
@pytest.mark.parametrize("path", [BATCHES, ATTENTION])
async def test_a_bad_parameter_of_a_list_is_400(replica: Replica, path: str, query: str) -> None:
    """The answer says what was expected."""
    answer = await replica.get(f"{path}?{query}")

    assert (answer.status, answer.code) == (400, "invalid-parameter")


async def test_a_token_of_another_list_is_none_of_ours(
    start_replica: StartReplica, database_url: str, parker: Parker
) -> None:
    """A token is good for the list and the filters that it came from."""
    replica = await start_replica(**PROJECT)
    await insert_batches(database_url, [("w", "released")] * 3)
    for item in ("1", "2"):
        await parker.park(await replica.accept(body(item)))
    of_batches = (await replica.get(f"{BATCHES}?page_size=1&state=released")).json["next_page_token"]
    of_attention = (await replica.get(f"{ATTENTION}?page_size=1")).json["next_page_token"]
    answers = [
        await replica.get(f"{BATCHES}?page_token={of_batches}"),
        await replica.get(f"{BATCHES}?page_token={of_attention}"),
        await replica.get(f"{ATTENTION}?page_token={of_batches}"),
    ]

    assert of_batches
    assert of_attention
    assert [answer.code for answer in answers] == ["invalid-parameter"] * 3


async def test_what_needs_attention_is_listed_oldest_first(
    start_replica: StartReplica, parker: Parker
) -> None:
    """Each batch is there once, with its cause, the vendor's last words, what was seen, and who waits for it."""
    replica = await start_replica(**PROJECT)
    requests = [await replica.accept(body(item, f"{item}b")) for item in ("1", "2", "3")]
    # One after the other: they share a batch key, and a batch takes all that waits.
    batch_id = await parker.park(requests[0])
    later = await replica.accept(body("4"))
    later_id = await parker.park(later)
    attached = await replica.accept(body("4"))
    entries = await all_pages(replica, ATTENTION, "attention")
    first, last = entries

    assert [entry["batch_id"] for entry in entries] == [batch_id, later_id]
    assert len(first["members"]) == 6
    assert {member["release_request_id"] for member in last["members"]} == {later["id"], attached["id"]}
    assert [member["attached"] for member in last["members"]] == [False, True]
    assert first["cause"] == "in-doubt"
    assert first["message"] == "the lists answered 503"
    assert first["vendor"] == {
        "status": 504,
        "error_code": "APIGW.0203",
        "error_msg": "Backend timeout.",
        "request_id": "r-1",
    }
    assert first["evidence"]["looks"][-1]["reason"] == "the lists answered 503"
    assert first["decisions"] == ["released", "resend", "rejected"]
    assert first["links"] == {"batch": f"{BATCHES}/{batch_id}", "resolve": f"{BATCHES}/{batch_id}/resolve"}


async def test_a_key_sees_the_batches_of_its_workspaces(
    start_replica: StartReplica, database_url: str, parker: Parker
) -> None:
    """In both lists; a filter for another workspace finds nothing, and no page is shorter for what is hidden."""
    open_replica = await start_replica(**PROJECT)
    guarded = await start_replica(RELEASE_AUTH="keys", **PROJECT)
    for number in range(6):
        await parker.park(await open_replica.accept(body(str(number), workspace=f"w{number % 2}")))
    key = await create_key(database_url, name="w0", scopes=("read",), workspaces=("p/w0",), expires_in=None)
    batches = await all_pages(guarded, BATCHES, "batches", X_Auth_Token=key.api_key)
    entries = await all_pages(guarded, ATTENTION, "attention", X_Auth_Token=key.api_key)
    foreign = await all_pages(guarded, f"{BATCHES}?workspace=w1", "batches", X_Auth_Token=key.api_key)

    assert [row["workspace"] for row in batches] == ["w0"] * 3
    assert [entry["workspace"] for entry in entries] == ["w0"] * 3
    assert foreign == []


@pytest.mark.parametrize("path", [BATCHES, ATTENTION])
async def test_a_list_needs_a_key_that_may_read(
    start_replica: StartReplica, database_url: str, path: str
) -> None:
    """Without one 401, with one for something else 403."""
    guarded = await start_replica(RELEASE_AUTH="keys")
    key = await create_key(database_url, name="s", scopes=("submit",), workspaces=("*",), expires_in=None)

    assert (await guarded.get(path)).status == 401
    assert (await guarded.get(path, X_Auth_Token=key.api_key)).status == 403


async def test_lists_read_by_index_only(database_url: str) -> None:
    """With 20,000 batches no list reads the table through, and a page reads about as many rows as it shows."""
    states = [(f"w{number}", "released" if number % 5 else "failed") for number in range(20)]
    await insert_batches(database_url, states, copies=1_000)
    newest = None
    queries = [
        (LIST_BATCHES, (newest, 51)),
        (LIST_BATCHES_OF_PLACES, (["%"], None, "w3", list(BatchState), newest, 51)),
        (LIST_BATCHES_OF_PLACES, (["p/w7"], None, None, [BatchState.RELEASED], newest, 51)),
        (LIST_PARKED, (["%"], None, None, 51)),
    ]
    connection = await asyncpg.connect(database_url)
    try:
        for statement, arguments in queries:
            (plan,) = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
            nodes = list(nodes_of(json.loads(plan[0])[0]["Plan"]))

            assert [
                node for node in nodes if node["Node Type"] == "Seq Scan" and "Relation Name" in node
            ] == []
            assert sum(rows_of(node) for node in nodes if node.get("Relation Name") == "batches") < 1_000
    finally:
        await connection.close()


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a node of a plan and all below it."""
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes_of(child))]


def rows_of(node: dict[str, Any]) -> float:
    """Return how many rows a node has read, also those that it threw away."""
    rows: float = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    loops: float = node["Actual Loops"]
    return rows * loops
