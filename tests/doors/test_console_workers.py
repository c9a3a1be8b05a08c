"""Worker processes in the console: which there are, how they stand, and their calls under way."""

import re
import signal

from service.core.worker_signs import WorkerState
from tests.doors.conftest import StartReplica
from tests.doors.test_console import log_in, make_key, read, session_of
from tests.main_job.conftest import StackWith
from tests.support.grown import grow
from tests.support.sql import fetch_value
from tests.support.stack import Stack, body
from tests.support.waiting import eventually

#: As if it had been silent for longer than two signs may be late.
FALL_SILENT = "UPDATE workers SET seen_at = now() - interval '16 s' RETURNING id"
FORGET_SOON = "UPDATE workers SET seen_at = now() - interval '25 h' RETURNING id"


async def page_of(stack: Stack) -> str:
    async with stack.http.get(f"{stack.url}/workers") as answer:
        assert answer.status == 200
        return await answer.text()


async def states(stack: Stack) -> list[str]:
    """Return how the workers on the page stand, from the top."""
    found = re.findall(r'class="state s-([a-z_]+)"', await page_of(stack))
    return [state for state in found if state in set(WorkerState)]


async def test_workers_are_shown_with_their_calls_until_they_go(stack_with: StackWith) -> None:
    """One that runs, one that is told to stop while it calls, one that has stopped, and one that was killed."""
    async with stack_with() as stack:
        await stack.start_api()
        first = await stack.start_worker()
        assert await eventually(lambda: states(stack)) == ["running"]
        await stack.emulator.hold("before_apply")
        held = await stack.submit(body("1"))
        await stack.emulator.wait_until_held()
        batch_id = (await stack.show(held["id"]))["items"][0]["batch_id"]
        assert f'href="/batches/{batch_id}"' in await page_of(stack)

        first.send(signal.SIGTERM)
        await eventually(lambda: _are(stack, "draining"))
        await stack.emulator.let_go()
        assert await first.wait(within=10.0) == 0
        assert f'href="/batches/{batch_id}"' not in await page_of(stack)
        await fetch_value(stack.database_url, FALL_SILENT)
        assert await states(stack) == ["stopped"]
        assert "No worker runs" in await page_of(stack)

        second = await stack.start_worker()
        await eventually(lambda: _are(stack, "running", "stopped"))
        assert "No worker runs" not in await page_of(stack)
        second.kill()
        await fetch_value(stack.database_url, FALL_SILENT)
        assert await states(stack) == ["gone", "stopped"]


async def test_a_worker_that_stops_without_work_says_so_and_old_ones_are_forgotten(
    stack_with: StackWith,
) -> None:
    """Its last word comes before its end; a worker that starts drops those of more than a day ago."""
    async with stack_with() as stack:
        await stack.start_api()
        worker = await stack.start_worker()
        worker.send(signal.SIGTERM)
        await worker.wait(within=10.0)
        assert await states(stack) == ["draining"]

        old = await fetch_value(stack.database_url, FORGET_SOON)
        assert await states(stack) == []
        await stack.start_worker()
        await eventually(lambda: _are(stack, "running"))
        count = "SELECT count(*) FROM workers WHERE id = $1"
        assert await fetch_value(stack.database_url, count, old) == 0


async def test_only_calls_that_may_be_seen_are_shown(start_replica: StartReplica, database_url: str) -> None:
    """Those of workers that never gave a sign are shown too, and nobody sees calls of other workspaces."""
    await grow(database_url, requests=200)
    guarded = await start_replica(RELEASE_AUTH="keys")
    pages = []
    for workspace in ("*", "*/none"):
        api_key, _ = await make_key(database_url, "read", workspaces=[workspace])
        answer = await read(guarded, "/workers", session_of(await log_in(guarded, api_key)))
        pages.append((answer.status, answer.body.decode()))

    assert [(status, "Calls of other workers" in page) for status, page in pages] == [
        (200, True),
        (200, False),
    ]
    assert ["/batches/" in page for _, page in pages] == [True, False]


async def _are(stack: Stack, *expected: str) -> bool:
    return await states(stack) == list(expected)
