"""What the docs show works as it is shown."""

import ast
import asyncio
import json
import sys
from typing import Any

import aiohttp
import pytest

from tests.docs.conftest import RunningUp
from tests.docs.examples import comparable, curl, redis_commands, shell
from tests.docs.markdown import REPOSITORY, Block, Page
from tests.support.waiting import eventually

README = Page.read("README.md")


async def released(up: RunningUp, request_id: str) -> dict[str, Any]:
    """Wait until a request is released."""

    async def shown() -> dict[str, Any] | None:
        headers = {"Authorization": f"Bearer {up.api_key}"}
        async with aiohttp.request(
            "GET", f"{up.url}/v1/release-requests/{request_id}", headers=headers
        ) as response:
            request: dict[str, Any] = await response.json()
            return request if request["state"] == "released" else None

    return await eventually(shown, within=20, what=f"{request_id} released") or {}


def redis_url(up: RunningUp) -> str:
    """Return what the line of the README sets."""
    (line,) = [text for text in README.blocks_of("sh") if text.startswith("export RELEASE_REDIS_URL=")]
    return shell(f'{line}\nprintf %s "$RELEASE_REDIS_URL"', directory=up.directory)


async def test_the_first_request_is_answered_as_shown(up: RunningUp) -> None:
    """The README's curl line releases two items, and its answer is the one below it."""
    (line,) = [text for text in README.blocks_of("sh") if text.startswith("curl")]
    answer = await curl(line.replace("http://127.0.0.1:8080", up.url), directory=up.directory)

    assert comparable(json.loads(README.blocks_of("json")[0])) == comparable(answer)


@pytest.mark.parametrize(("page", "item"), [("README.md", "28"), ("docs/queue-door.md", "38")])
async def test_a_producer_in_python_gets_its_request_released(up: RunningUp, page: str, item: str) -> None:
    """The program of the page enqueues a request, prints its id and state, and the request is released."""
    (program,) = Page.read(page).blocks_of("python")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={"RELEASE_REDIS_URL": redis_url(up)},
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    result = ast.literal_eval(output.decode())
    request = await released(up, result["id"])

    assert result["state"] == "accepted"
    assert [one["pending_item_id"] for one in request["items"]] == [item]


@pytest.mark.parametrize(("page", "item"), [("README.md", "29"), ("docs/queue-door.md", "39")])
async def test_a_producer_with_bare_redis_commands_gets_its_request_released(
    up: RunningUp, page: str, item: str
) -> None:
    """The four Redis commands of the page are taken, and the request that they hold is released."""
    (commands,) = Page.read(page).blocks_of("redis")
    url = redis_url(up)
    answers = await redis_commands(commands, url=url)

    async def result() -> dict[str, Any] | None:
        found = await redis_commands(f"GET arq:result:job-{item}", url=url)
        return json.loads(found[1])["r"] if len(found) > 2 else None

    found = await eventually(result, within=10, what="the job's result") or {}
    request = await released(up, found["id"])

    assert answers == ["+OK", "+QUEUED", "+QUEUED", "*2", "+OK", ":1", "+OK"]
    assert [one["pending_item_id"] for one in request["items"]] == [item]


async def test_every_call_of_the_http_page_is_answered_as_shown(up: RunningUp) -> None:
    """One after the other the calls of docs/http-api.md give the answers below them."""
    setting, *blocks = [
        block for block in Page.read("docs/http-api.md").blocks if block.language in ("sh", "json")
    ]
    variables = {"ID": "", "BATCH": ""}
    assert setting.text.startswith("URL=http://127.0.0.1:8080\n")
    for call, expected in zip(blocks[::2], blocks[1::2], strict=True):
        script = setting.text.replace("http://127.0.0.1:8080", up.url) + call.text
        answer = await curl(script, directory=up.directory, **variables)

        assert comparable(json.loads(expected.text)) == comparable(answer), call.text
        if not variables["ID"]:
            request = await released(up, answer["id"])
            variables = {"ID": request["id"], "BATCH": request["items"][0]["batch_id"]}


async def test_the_results_of_the_queue_door_are_as_shown(up: RunningUp) -> None:
    """docs/queue-door.md shows the result of an accepted request and of a conflict as they are."""
    accepted, refused, _ = (json.loads(text) for text in Page.read("docs/queue-door.md").blocks_of("json"))
    results = [await result_of(up, f"doc-{number}", applicant=f"applicant-{number}") for number in (1, 2)]

    assert comparable([accepted, refused]) == comparable(results)


async def test_a_reject_of_the_queue_door_is_as_shown(up: RunningUp) -> None:
    """docs/queue-door.md shows how an entry with an unknown function is listed."""
    *_, shown = (json.loads(text) for text in Page.read("docs/queue-door.md").blocks_of("json"))
    content = shown["rejects"][0]["payload"]
    put = f"PSETEX arq:job:doc-3 600000 '{content}'\nZADD release:requests 1 doc-3"
    await redis_commands(put, url=redis_url(up))

    async def listed() -> dict[str, Any] | None:
        headers = {"Authorization": f"Bearer {up.api_key}"}
        async with aiohttp.request("GET", f"{up.url}/v1/rejects?page_size=1", headers=headers) as response:
            page: dict[str, Any] = await response.json()
            return page if [row["job_id"] for row in page["rejects"]] == ["doc-3"] else None

    found = await eventually(listed, within=10, what="the reject") or {}

    assert comparable(found["rejects"]) == comparable(shown["rejects"])
    assert found.keys() == shown.keys()


async def result_of(up: RunningUp, job: str, *, applicant: str) -> dict[str, Any]:
    """Enqueue a request for the item of docs/queue-door.md, and return the job's result."""
    url = redis_url(up)
    request = {
        "workspace": "queue-door",
        "apply_user_id": applicant,
        "approver_ids": ["approver-1"],
        "pending_item_list": ["28"],
    }
    content = json.dumps(
        {"t": None, "f": "release_request", "a": [{"v": 1, "request": request}], "k": {}, "et": 1}
    )
    await redis_commands(f"PSETEX arq:job:{job} 600000 '{content}'\nZADD release:requests 1 {job}", url=url)

    async def result() -> dict[str, Any] | None:
        found = await redis_commands(f"GET arq:result:{job}", url=url)
        return json.loads(found[1])["r"] if len(found) > 2 else None

    return await eventually(result, within=10, what=f"the result of {job}") or {}


async def test_the_vendors_sample_makes_a_package_through_the_facade(up: RunningUp) -> None:
    """The program of docs/facade.md runs with the variables that `up` leaves, and prints what is shown."""
    page = Page.read("docs/facade.md")
    (program,) = page.blocks_of("python")
    variables = dict(
        line.split("=", 1) for line in (up.directory / ".data" / "sdk.env").read_text().splitlines()
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"HOME": str(up.directory), **variables},
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 0, errors.decode()
    assert comparable(json.loads(page.blocks_of("json")[0])) == comparable(json.loads(output))


async def test_a_script_makes_a_package_through_the_facade(up: RunningUp) -> None:
    """The curl line of docs/facade.md, with an API key for a token, is answered as shown."""
    page = Page.read("docs/facade.md")
    (script,) = [text for text in page.blocks_of("sh") if "curl" in text]
    answer = await curl(script.replace("http://127.0.0.1:8080", up.url), directory=up.directory)

    assert comparable(json.loads(page.blocks_of("json")[1])) == comparable(answer)


def test_every_example_is_of_a_kind_that_is_run() -> None:
    """No page that is run has a block of another language than those that the tests know."""
    known = {"sh", "json", "python", "redis"}
    blocks: list[Block] = [
        block
        for name in ("README.md", "docs/http-api.md", "docs/queue-door.md", "docs/facade.md")
        for block in Page.read(name).blocks
    ]

    assert {block.language for block in blocks} <= known
