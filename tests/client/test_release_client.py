"""The client library against the service, on a good day."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.client import ReleaseClient, ReleaseError, SyncReleaseClient
from tests.main_job.conftest import StackWith
from tests.support.cli import Cli
from tests.support.intermediary import Intermediary
from tests.support.sql import fetch_value
from tests.support.stack import Stack, body, free_port


async def test_a_request_goes_its_way(stack: Stack) -> None:
    """Submitted, watched to its end, read, found in lists, with its timeline; each answer has typed members."""
    async with ReleaseClient(stack.url) as client:
        request = await client.submit(**body("1", "2", labels={"team": "bi"}), idempotency_key="order-1")
        again = await client.submit(**body("1", "2", labels={"team": "bi"}), idempotency_key="order-1")
        states = [change.state async for change in client.watch(request.id, timeout=20)]
        done = await client.wait(request.id)
        shown = await client.get(request.id)
        found = [one.id async for one in client.list(labels={"team": "bi"}, state="released")]
        events = [event async for event in client.events(request.id)]
        batch = await client.batch(done.items[0].batch_id or "")
        batches = [one.id async for one in client.batches(workspace="ws-1", state="released")]

    assert (request.id, request.state) == (again.id, "accepted")
    assert (states[0], states[-1]) == ("accepted", "released")
    assert dict(shown) == dict(done)
    assert done["items"][0]["release_package_id"] == done.items[0].release_package_id
    assert abs(datetime.now(UTC) - done.created_at) < timedelta(minutes=5)
    assert found == [request.id]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [member.pending_item_id for member in batch.members] == ["1", "2"]
    assert batch.attempts[0].outcome == "released"
    assert batches == [batch.id]


async def test_a_submission_that_waits_returns_the_result(stack: Stack) -> None:
    """Done within the time, it is returned as it ended."""
    async with ReleaseClient(stack.url) as client:
        request = await client.submit(**body("1"), wait=20)

    assert request.is_released


async def test_a_list_goes_from_page_to_page(quiet_stack: Stack) -> None:
    """Every match comes once, newest first, whatever the size of a page; times may be given as such."""
    async with ReleaseClient(quiet_stack.url) as client:
        submitted = await client.submit_many([body(str(number)) for number in range(7)])
        ids = [one.release_request.id for one in submitted if one.release_request is not None]
        listed = [one.id async for one in client.list(workspace="ws-1", page_size=3)]
        later = [one.id async for one in client.list(created_after=datetime.now(UTC) + timedelta(hours=1))]

    assert (len(ids), sorted(ids, reverse=True)) == (7, listed)
    assert later == []


async def test_operators_have_their_calls(quiet_stack: Stack) -> None:
    """Workspaces are looked at and acted on, many requests are cancelled after a look, and the trail tells of it."""
    place = f"{quiet_stack.environment['RELEASE_PROJECT_ID']}/ws-1"
    async with ReleaseClient(quiet_stack.url) as client:
        await client.submit_many([body(str(number)) for number in range(3)])
        paused = await client.pause(place, "upgrade")
        changed = await client.configure(place, {"max_items": 20, "rate": None}, "few approvers")
        flushed = await client.flush(place)
        resumed = await client.resume(place)
        listed = [(one.workspace, one.waiting) async for one in client.workspaces()]
        preview = await client.preview("cancel", {"workspace": "ws-1", "labels": {}})
        with pytest.raises(ReleaseError, match="count-changed"):
            await client.execute("cancel", {"workspace": "ws-1"}, expect=2, reason="ordered twice")
        operation = await client.execute("cancel", {"workspace": "ws-1"}, expect=3, reason="ordered twice")
        aborted = await client.abort(operation.id)
        seen = await client.operation(operation.id)
        actions = [entry.action async for entry in client.audit_log(target=place)]
        audit = await client.audit()
        nothing = [[one async for one in entries] for entries in (client.attention(), client.rejects())]

    assert (paused.paused, paused.paused_reason, resumed.paused) == (True, "upgrade", False)
    assert (changed.settings.max_items, flushed.hold) == (20, paused.hold)
    assert listed == [("ws-1", 3)]
    assert (preview.count, len(preview.sample)) == (3, 3)
    assert (operation.total, aborted.state, seen.state) == (3, "aborted", "aborted")
    assert {"workspace.paused", "workspace.resumed", "workspace.flushed"} <= set(actions)
    assert audit.clean
    assert nothing == [[], []]


async def test_a_refusal_is_raised_with_the_members_of_the_problem(quiet_stack: Stack) -> None:
    """What is wrong is in the error, each thing with its pointer; ids and workspaces stay within their place."""
    async with ReleaseClient(quiet_stack.url, "no-key") as client:
        with pytest.raises(ReleaseError) as raised:
            await client.submit(**body("a b", workspace="w w"))
        for strange in ("../workspaces", "01a20c84-4d86-70f7-961a-3b09c213ee81", "ä?x#y"):
            with pytest.raises(ReleaseError, match="not-found"):
                await client.get(strange)
        with pytest.raises(ValueError, match="expected a workspace as PROJECT/WORKSPACE"):
            await client.pause("p/w/settings")

    assert (raised.value.code, raised.value.status) == ("invalid-request", 422)
    assert {error["pointer"] for error in raised.value.errors} == {"/pending_item_list/0", "/workspace"}


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://h/", "http://", "http://u:p@h/", "http://h/?a=1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="expected an address such as"):
        ReleaseClient(url)


async def test_who_may_not_read_is_told_which_request_was_accepted(
    stack_with: StackWith, tmp_path: Path
) -> None:
    """A key that only submits cannot wait; the error has the id, so that nothing is handed in twice."""
    async with stack_with(RELEASE_AUTH="keys") as stack:
        await stack.start_api()
        options = ("keys", "create", "--name", "n", "--scope", "submit", "--workspace", "*/*", "-o", "json")
        created = await Cli(tmp_path, **stack.environment).run(*options)
        async with ReleaseClient(stack.url, created.json["key"]) as client:
            with pytest.raises(ReleaseError, match="forbidden") as raised:
                await client.submit(**body("1"), wait=5)
        accepted = await fetch_value(stack.database_url, "SELECT id::text FROM release_requests")

    assert raised.value.problem["release_request_id"] == accepted


async def test_a_key_that_is_used_too_often_is_slowed_down(stack_with: StackWith, tmp_path: Path) -> None:
    """The service answers 429 with `Retry-After`, the client comes again then, and its caller sees only the answers."""
    async with stack_with(RELEASE_AUTH="keys", RELEASE_KEY_RATE="3") as stack:
        await stack.start_api()
        options = ("keys", "create", "--name", "n", "--scope", "admin", "--workspace", "*/*", "-o", "json")
        key = (await Cli(tmp_path, **stack.environment).run(*options)).json["key"]
        async with (
            Intermediary(stack.url).running() as intermediary,
            ReleaseClient(intermediary.url, key, retry_for=30) as client,
        ):
            request = await client.submit(**body("1"))
            answers = await asyncio.gather(*(client.get(request.id) for _ in range(9)))

    assert {answer.id for answer in answers} == {request.id}
    assert len(intermediary.calls) > 10


async def test_a_netrc_and_a_proxy_of_the_machine_do_not_matter(
    quiet_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry of a .netrc is no key of ours, and this machine is reached without a proxy."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with ReleaseClient(quiet_stack.url, "a-key", retry_for=0) as client:
        request = await client.submit(**body("1"))

    assert request.state == "accepted"


async def test_the_blocking_client_works_with_a_loop_around_it(stack: Stack) -> None:
    """It has a loop of its own in a thread, so it works in programs that have one and in those that have none."""
    with SyncReleaseClient(stack.url) as client:
        request = client.submit(**body("1"), wait=20)
        states = [change.state for change in client.watch(request.id)]
        first = next(client.list(workspace="ws-1"))
        with pytest.raises(ReleaseError, match="not-cancellable"):
            client.cancel(request.id)
        with pytest.raises(TimeoutError):
            client.wait(
                client.submit(**body("2"), not_before=datetime.now(UTC) + timedelta(days=1)).id, timeout=0
            )

    assert states == ["released"]
    assert first.id == request.id
