"""Lists of release requests: every filter, every row once, and only what the caller may see."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from service.commands.keys import create_key
from service.core.page_token import encode_page_token
from tests.doors.conftest import StartReplica
from tests.support.api import REQUESTS, Api, Replica
from tests.support.filled import fill
from tests.support.sql import fetch_value
from tests.support.stack import body


async def pages(api: Api, query: str, **headers: str) -> AsyncIterator[list[dict[str, Any]]]:
    token = ""
    while True:
        answer = await api.get(f"{REQUESTS}?{query}&page_token={token}", **headers)
        assert answer.status == 200, answer.body
        yield answer.json["release_requests"]
        token = answer.json["next_page_token"]
        if not token:
            return


async def listed(api: Api, query: str, **headers: str) -> list[dict[str, Any]]:
    return [row async for page in pages(api, query, **headers) for row in page]


async def test_the_rows_are_the_resources(replica: Replica) -> None:
    """A list shows each request as its own address does, newest first."""
    accepted = [await replica.accept(body(str(number), labels={"n": str(number)})) for number in range(3)]
    rows = await listed(replica, "page_size=2")

    assert rows == [await replica.show(request["id"]) for request in reversed(accepted)]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [3, 2, 1, 0]),
        ("workspace=ws-a", [2, 0]),
        ("project_id=project", [3, 2, 1, 0]),
        ("project_id=other", []),
        ("state=accepted", [3, 2, 0]),
        ("state=cancelled", [1]),
        ("state=cancelled&workspace=ws-a", []),
        ("item=1", [1]),
        ("item=shared", [3, 2]),
        ("label.team=bi", [2, 0]),
        ("label.team=bi&label.n=2", [2]),
        ("label.team=b", []),
        ("idempotency_key=key-3", [3]),
        ("error_code=vendor-rejected", []),
        ("created_after=2000-01-01T00:00:00Z", [3, 2, 1, 0]),
        ("created_before=2000-01-01T00:00:00Z", []),
    ],
)
async def test_filters(replica: Replica, query: str, numbers: list[int]) -> None:
    """Each filter narrows the list, and several narrow it together."""
    ids = []
    for number in range(4):
        items = [str(number)] + (["shared"] if number in (2, 3) else [])
        labels = {"team": "bi" if number % 2 == 0 else "ops", "n": str(number)}
        workspace = "ws-a" if number in (0, 2) else "ws-b"
        request = body(*items, workspace=workspace, labels=labels)
        ids.append((await replica.accept(request, Idempotency_Key=f"key-{number}"))["id"])
    await replica.ask("POST", f"{REQUESTS}/{ids[1]}/cancel")

    assert [row["id"] for row in await listed(replica, query)] == [ids[number] for number in numbers]


@pytest.mark.parametrize("code", ["vendor-rejected", "DLF.3051"])
async def test_an_error_is_found_by_our_code_and_by_the_vendors(
    replica: Replica, database_url: str, code: str
) -> None:
    """People search for what the vendor has told them."""
    accepted = [await replica.accept(body(item)) for item in ("1", "2")]
    await fetch_value(
        database_url,
        """
        UPDATE release_requests SET error = '{"code": "vendor-rejected", "message": "", "retryable": false,
            "vendor": {"status": 400, "error_code": "DLF.3051", "error_msg": "", "request_id": null}}'
        WHERE id = $1
        """,
        accepted[0]["id"],
    )

    assert [row["id"] for row in await listed(replica, f"error_code={code}")] == [accepted[0]["id"]]


async def test_the_times_are_exact(replica: Replica) -> None:
    """``created_after`` includes its moment, ``created_before`` does not."""
    accepted = await replica.accept(body("1"))
    moment = quote(accepted["created_at"])

    assert len(await listed(replica, f"created_after={moment}")) == 1
    assert len(await listed(replica, f"created_before={moment}")) == 0


@pytest.mark.parametrize(
    "query",
    [
        "state=done",
        "state=",
        "workspace=",
        "workspace=" + "w" * 256,
        "item=%00",
        "created_after=yesterday",
        "label.=x",
        "label.%00=1",
        "label.a%0Ab=1",
        "label=x",
        "&".join(f"label.{number}=x" for number in range(9)),
        "colour=red",
        "state=failed&state=rejected",
        "page_size=0",
        "page_size=x",
        "page_token=x",
        "page_token=" + "x" * 600,
    ],
)
async def test_what_is_no_filter_is_refused(replica: Replica, query: str) -> None:
    """400 says what was expected."""
    answer = await replica.get(f"{REQUESTS}?{query}")

    assert (answer.status, answer.code) == (400, "invalid-parameter")
    assert answer.json["detail"].startswith("Expected ")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday"])
@pytest.mark.parametrize("name", ["release-requests", "attention"])
async def test_a_token_that_somebody_has_made_is_no_fault_of_ours(
    replica: Replica, name: str, moment: str
) -> None:
    """Tokens are not signed: a moment that no clock shows is 400 like any other that is none of ours."""
    token = encode_page_token({"": name}, moment, "01a20c84-4d86-70f7-961a-3b09c213ee81")
    answer = await replica.get(f"/v1/{name}?page_token={token}")

    assert (answer.status, answer.code) == (400, "invalid-parameter")


async def test_a_token_is_good_for_its_list_only(replica: Replica) -> None:
    """With other filters, or on another list, it is 400."""
    for number in range(2):
        await replica.accept(body(str(number)))
    token = (await replica.get(f"{REQUESTS}?page_size=1")).json["next_page_token"]

    assert (await replica.get(f"{REQUESTS}?page_token={token}")).status == 200
    assert (await replica.get(f"{REQUESTS}?page_token={token}&state=accepted")).status == 400
    assert (await replica.get(f"/v1/audit-log?page_token={token}")).status == 400


async def test_a_caller_sees_its_workspaces_only(start_replica: StartReplica, database_url: str) -> None:
    """Other workspaces' requests are in no list, whatever filter names them."""
    replica = await start_replica(RELEASE_AUTH="keys")

    async def key(*workspaces: str) -> dict[str, str]:
        created = await create_key(
            database_url, name="k", scopes=["read", "submit"], workspaces=list(workspaces)
        )
        return {"Authorization": f"Bearer {created.api_key}"}

    everything, exact = await key("*"), await key("project/ws_1")
    pattern, two = await key("project/ws_*"), await key("project/ws_1", "project/wsx1")
    ids = {
        name: (await replica.accept(body("1", workspace=name), **everything))["id"]
        for name in ("ws_1", "ws_2", "wsx1")
    }

    async def seen(headers: dict[str, str], query: str = "") -> set[str]:
        return {row["id"] for row in await listed(replica, query, **headers)}

    assert await seen(everything) == set(ids.values())
    assert await seen(exact) == {ids["ws_1"]}
    assert await seen(pattern) == {ids["ws_1"], ids["ws_2"]}
    assert await seen(two) == {ids["ws_1"], ids["wsx1"]}
    assert await seen(exact, "workspace=ws_2") == set()
    assert await seen(exact, "item=1") == {ids["ws_1"]}


async def test_pages_hold_no_more_items_than_fit(replica: Replica) -> None:
    """Requests of very many items make shorter pages, and all are listed."""
    ids = [(await replica.accept(body(*(f"{n}-{item}" for item in range(1_000)))))["id"] for n in range(12)]
    sizes = [len(page) async for page in pages(replica, "page_size=200")]

    assert sizes == [5, 5, 2]
    assert [row["id"] for row in await listed(replica, "page_size=200")] == ids[::-1]


async def test_each_of_100_000_rows_is_listed_once_while_others_come_in(
    replica: Replica, database_url: str
) -> None:
    """What was there at the first page is on one page each, in order, though the list grows all the time."""
    await fill(database_url, count=100_000)
    stop = asyncio.Event()

    async def submit() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await replica.accept(body(f"new-{number}"))

    submitting = asyncio.create_task(submit())
    rows = [row async for page in pages(replica, "page_size=200") for row in page]
    stop.set()
    await submitting
    times = [row["created_at"] for row in rows]
    old = [row["id"] for row in rows if row["items"][0]["pending_item_id"].startswith("item-")]

    assert len(old) == len(set(old)) == 100_000
    assert times == sorted(times, reverse=True)


async def test_every_filter_finds_few_among_100_000(replica: Replica, database_url: str) -> None:
    """Each filter alone, and in pairs, returns exactly the rows that it names."""
    await fill(database_url, count=100_000)
    newest = await fetch_value(database_url, "SELECT max(created_at) FROM release_requests")
    since = quote((newest - timedelta(seconds=149.5)).isoformat())

    async def count(query: str) -> int:
        return len(await listed(replica, f"page_size=200&{query}"))

    assert await count("workspace=ws-7") == 2_000
    assert await count("state=failed") == 1_000
    assert await count("error_code=attempts-used-up&workspace=ws-1") == 1_000
    assert await count("label.team=team-3&state=failed") == 0
    assert await count("label.team=team-1&state=failed") == 1_000
    assert await count("item=item-77777") == 1
    assert await count("idempotency_key=key-77777") == 1
    assert await count(f"created_after={since}") == 150
