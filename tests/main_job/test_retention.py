"""Retention: what ended before it is deleted, with all that is its own; what lives stays, and the data stay sound."""

from datetime import UTC, datetime, timedelta

from service.core.auditing import Patience
from service.core.config import Settings
from service.core.ids import first_id_at, new_id
from service.core.request_periods import RequestPeriod
from service.flow.audit import audit
from service.flow.prune import prune_once
from service.gateways.store.database import Database, PoolSize
from service.gateways.store.request_periods import add_period
from tests.main_job.conftest import StackWith
from tests.support.grown import grow
from tests.support.sql import count_requests, fetch_value
from tests.support.stack import Stack, body
from tests.support.waiting import eventually

#: Some seconds.
SHORT = "0.00004"
MOMENT = timedelta(milliseconds=1)
END = "UPDATE release_requests SET finished_at = now() + $2::interval WHERE id = $1 RETURNING id"


async def test_what_has_ended_goes_and_what_lives_stays(stack_with: StackWith, database_url: str) -> None:
    """Requests, items, events, batches and attempts go; their ids are 410; a key and an item may be used anew."""
    async with stack_with(RELEASE_RETENTION_DAYS=SHORT) as stack:
        await stack.start_api()
        await stack.start_worker()
        waits = await stack.submit(body("9", not_before="2100-01-01T00:00:00Z"))
        first = await stack.submit(body("1", "2"), Idempotency_Key="once")
        done = await stack.wait_for(first["id"], "released")
        paths = [f"/v1/release-requests/{first['id']}", f"/v1/batches/{done['items'][0]['batch_id']}"]

        async def are_gone() -> bool:
            return {await _status(stack, path) for path in paths} == {410}

        await eventually(are_gone, within=30)
        assert await _status(stack, f"{paths[0]}/events") == 410
        assert await _status(stack, f"/v1/release-requests/{new_id()}") == 404
        assert await _status(stack, f"/v1/release-requests/{waits['id']}") == 200
        assert await count_requests(database_url) == 1
        assert await fetch_value(database_url, "SELECT count(*) FROM release_items") == 1
        assert await fetch_value(database_url, "SELECT count(*) FROM attempts") == 0
        again = await stack.submit(body("3"), Idempotency_Key="once")
        assert again["id"] != first["id"]


async def _status(stack: Stack, path: str) -> int:
    async with stack.http.get(f"{stack.url}{path}") as answer:
        return answer.status


async def test_a_request_stays_as_long_as_a_younger_one_shares_its_item(
    stack: Stack, database_url: str
) -> None:
    """The younger one hangs on its row; both go in the end, and the audit finds nothing wrong on the way."""
    older = await stack.submit(body("1", "2"))
    await stack.wait_for(older["id"], "released")
    younger = await stack.submit(body("2"))
    await stack.wait_for(younger["id"], "released")
    database = await Database.open(database_url, PoolSize(smallest=1, largest=2))
    try:
        await fetch_value(database_url, END, younger["id"], timedelta(hours=1))
        assert await prune_once(database, MOMENT) == 0
        await fetch_value(database_url, END, younger["id"], -timedelta(hours=1))
        assert await prune_once(database, MOMENT) == 1
        patience = Patience.of(Settings.from_env({"RELEASE_RETENTION_DAYS": "1e-8"}))
        assert (await audit(database, patience)).is_clean
        assert await prune_once(database, MOMENT) == 1
    finally:
        await database.close()
    assert await fetch_value(database_url, "SELECT count(*) FROM batches") == 0


async def test_without_a_retention_nothing_goes(stack_with: StackWith) -> None:
    """0 keeps what has ended, and an id that is not there is 404, however old."""
    async with stack_with(RELEASE_RETENTION_DAYS="0") as stack:
        await stack.start_api()

        assert await _status(stack, f"/v1/release-requests/{new_id(now_ms=1_600_000_000_000)}") == 404


async def test_what_was_dropped_with_its_period_is_gone(stack_with: StackWith, database_url: str) -> None:
    """Its id is 410, as that of what was deleted by itself; before, it is shown."""
    starts_at = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=45)
    old = RequestPeriod(
        name="old", from_id=first_id_at(starts_at), to_id=first_id_at(starts_at + timedelta(days=10))
    )
    database = await Database.open(database_url, PoolSize(smallest=1, largest=2))
    try:
        async with stack_with(RELEASE_RETENTION_DAYS="30") as stack, database.connection() as connection:
            assert await add_period(connection, old)
            await grow(database_url, requests=20, under_way=(), age=timedelta(days=40))
            request_id = await fetch_value(database_url, "SELECT min(id::text) FROM release_requests")
            await stack.start_api()
            path = f"/v1/release-requests/{request_id}"
            assert await _status(stack, path) == 200
            assert await prune_once(database, timedelta(days=30)) == 20
            assert await fetch_value(database_url, "SELECT to_regclass('release_requests_old')") is None
            assert await _status(stack, path) == 410
    finally:
        await database.close()
