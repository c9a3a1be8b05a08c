"""Servers and processes that go away and come back: nothing is lost, and nobody has to help."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from service.gateways.migrate import migrate
from tests.support.emulator import UNLIMITED
from tests.support.proxy import PostgresProxy
from tests.support.servers import frozen
from tests.support.stack import Stack, assert_ledger_agrees, body, many_bodies, running_stack
from tests.support.waiting import eventually


@pytest.fixture
async def own_stack(
    own_postgres: EmbeddedPostgres, own_valkey: EmbeddedValkey, tmp_path: Path
) -> AsyncIterator[Stack]:
    """A stack on servers of its own, with one HTTP process and one worker."""
    await migrate(own_postgres.url)
    async with running_stack(
        database_url=own_postgres.url,
        redis_url=own_valkey.url,
        directory=tmp_path,
        faults=UNLIMITED,
        RELEASE_CALL_TIMEOUT_SECONDS="2",
        RELEASE_LEASE_SECONDS="3",
        RELEASE_GRACE_SECONDS="5",
        RELEASE_SWEEP_SECONDS="0.5",
    ) as stack:
        await stack.start_api()
        await stack.start_worker()
        yield stack


async def test_requests_are_accepted_without_redis_and_released_when_it_is_back(
    own_stack: Stack, own_valkey: EmbeddedValkey
) -> None:
    """With Redis stopped a POST is still 202; when Redis is back the request is released without help."""
    await own_valkey.stop()
    ids = [(await own_stack.submit(body(str(n))))["id"] for n in range(3)]
    shown = [await own_stack.show(request_id) for request_id in ids]
    await own_valkey.start()
    requests = await own_stack.wait_until_at_rest(ids, within=15.0)

    assert {request["state"] for request in shown} == {"accepted"}
    assert {request["state"] for request in requests} == {"released"}
    assert all(process.returncode is None for process in own_stack.processes)


async def test_all_of_redis_may_be_lost(own_stack: Stack, own_valkey: EmbeddedValkey) -> None:
    """A Redis that comes back empty, killed in the middle of the work, costs time and nothing else."""
    submitting = asyncio.ensure_future(own_stack.submit_all(many_bodies(300), connections=8))
    await eventually(own_stack.emulator.packages, within=10.0)
    async with Redis.from_url(own_valkey.url) as redis:
        await redis.flushall()
    own_valkey.kill()
    await own_valkey.start()
    requests = await own_stack.wait_until_at_rest(await submitting, within=30.0)

    assert {request["state"] for request in requests} == {"released"}
    await assert_ledger_agrees(own_stack, requests)


async def test_the_service_goes_on_after_postgres_was_away(
    own_stack: Stack, own_postgres: EmbeddedPostgres
) -> None:
    """Without Postgres a POST is 503 with Retry-After; back again, both processes go on as they are."""
    first = await own_stack.submit(body("1"))
    await own_stack.wait_for(first["id"], "released")
    await own_postgres.stop()
    async with own_stack.http.post(f"{own_stack.url}/v1/release-requests", json=body("2")) as response:
        refused, text = response, await response.text()
    await own_postgres.start()

    async def is_accepted() -> dict[str, object] | None:
        async with own_stack.http.post(f"{own_stack.url}/v1/release-requests", json=body("3")) as response:
            return await response.json() if response.status == 202 else None

    accepted = await eventually(is_accepted, within=10.0) or {}
    await own_stack.wait_for(str(accepted["id"]), "released", within=15.0)

    assert refused.status == 503
    assert refused.headers["Retry-After"] == "2"
    assert '"code":"unavailable"' in text
    assert "Traceback" not in text
    assert all(process.returncode is None for process in own_stack.processes)


async def test_the_rest_goes_on_after_a_worker_was_killed(own_stack: Stack) -> None:
    """A kill -9 in the middle of a call leaves that batch in doubt; a new worker releases everything else."""
    await own_stack.emulator.hold("after_apply")
    caught = await own_stack.submit(body("1"))
    await own_stack.emulator.wait_until_held()
    own_stack.processes[-1].send(signal.SIGKILL)
    ids = [(await own_stack.submit(body(str(n))))["id"] for n in range(2, 6)]
    other = await own_stack.submit(body("9", workspace="ws-2"))
    await own_stack.emulator.let_go()
    await own_stack.start_worker()
    await own_stack.wait_for(other["id"], "released", within=10.0)
    requests = await own_stack.wait_until_at_rest([*ids, caught["id"]], within=15.0)

    assert [request["state"] for request in requests] == ["released"] * 4 + ["in_doubt"]
    assert requests[-1]["items"][0]["error"]["code"] == "in-doubt"
    await assert_ledger_agrees(own_stack, [*requests, await own_stack.show(other["id"])])


async def test_a_frozen_worker_that_wakes_up_writes_nothing(own_stack: Stack) -> None:
    """Stopped past its lease and resumed, the old worker neither releases nor changes what others decided."""
    await own_stack.emulator.hold("after_apply")
    accepted = await own_stack.submit(body("1"))
    await own_stack.emulator.wait_until_held()
    frozen = own_stack.processes[-1]
    frozen.send(signal.SIGSTOP)
    await own_stack.start_worker()
    await own_stack.wait_for(accepted["id"], "in_doubt", within=15.0)
    await own_stack.emulator.let_go()
    frozen.send(signal.SIGCONT)
    await frozen.wait_for_line("outcome.fenced", within=15.0)
    request = await own_stack.show(accepted["id"])
    batch = await own_stack.batch(request["items"][0]["batch_id"])

    assert request["state"] == "in_doubt"
    assert batch["epoch"] == 2
    assert len(await own_stack.emulator.calls()) == 1


async def test_sigterm_finishes_the_running_call_and_exits_0(own_stack: Stack) -> None:
    """A worker that is told to stop takes no new batch, settles the call that runs, and ends in peace."""
    await own_stack.emulator.hold("after_apply")
    accepted = await own_stack.submit(body("1"))
    await own_stack.emulator.wait_until_held()
    worker = own_stack.processes[-1]
    worker.send(signal.SIGTERM)
    await worker.wait_for_line("drain.started")
    later = await own_stack.submit(body("2"))
    await own_stack.emulator.let_go()
    code = await worker.wait(within=8.0)

    assert code == 0
    assert (await own_stack.show(accepted["id"]))["state"] == "released"
    assert (await own_stack.show(later["id"]))["state"] == "accepted"


async def test_a_second_sigterm_gives_the_running_call_up_as_in_doubt(own_stack: Stack) -> None:
    """Told twice, a worker ends within two seconds and says that the outcome is not known; no fault of the vendor."""
    await own_stack.emulator.hold("after_apply")
    accepted = await own_stack.submit(body("1"))
    await own_stack.emulator.wait_until_held()
    worker = own_stack.processes[-1]
    worker.send(signal.SIGTERM)
    await worker.wait_for_line("drain.started")
    worker.send(signal.SIGTERM)
    code = await worker.wait(within=4.0)

    assert code == 0
    assert (await own_stack.show(accepted["id"]))["state"] == "in_doubt"


@pytest.mark.usefixtures("own_database_url")
async def test_a_second_sigterm_waits_for_no_server_that_hangs(
    own_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path
) -> None:
    """Told twice while PostgreSQL is frozen, a worker leaves its batch to its lease and ends without an error."""
    async with running_stack(
        database_url=own_postgres.url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await stack.start_api()
        worker = await stack.start_worker()
        await stack.emulator.hold("after_apply")
        await stack.submit(body("1"))
        await stack.emulator.wait_until_held()
        with frozen(own_postgres.pid):
            worker.send(signal.SIGTERM)
            await worker.wait_for_line("drain.started")
            worker.send(signal.SIGTERM)
            code = await worker.wait(within=10.0)

    assert code == 0
    assert "told twice" in worker.stderr, "it waited for PostgreSQL"


async def test_calls_that_are_given_up_open_no_breaker(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Told twice, a worker cuts six calls of one workspace off: that is no failure of the vendor's."""
    async with running_stack(
        database_url=database_url,
        redis_url=redis_url,
        directory=tmp_path,
        faults=UNLIMITED,
        RELEASE_BATCH_MAX_ITEMS="1",
    ) as stack:
        await stack.start_api()
        worker = await stack.start_worker()
        await stack.wait_for((await stack.submit(body("0")))["id"], "released")
        await stack.emulator.patch_faults({"latency_seconds": 20})
        ids = [(await stack.submit(body(str(item))))["id"] for item in range(1, 7)]
        for request_id in ids:
            await stack.wait_for(request_id, "releasing")
        worker.send(signal.SIGTERM)
        await worker.wait_for_line("drain.started")
        worker.send(signal.SIGTERM)
        code = await worker.wait(within=5.0)

    assert code == 0
    assert worker.stderr.count("batch.in_doubt") >= 5, "as many failures would open the breaker"
    assert "breaker.opened" not in worker.stderr


@pytest.mark.parametrize("command", ["api", "worker"])
async def test_a_missing_postgres_at_start_is_waited_for(
    own_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path, command: str
) -> None:
    """A process that starts before its database says what it waits for, and starts when it is there."""
    await migrate(own_postgres.url)
    await own_postgres.stop()
    async with running_stack(
        database_url=own_postgres.url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        process = stack.start(command)
        line = await process.wait_for_line("start.delayed.*")
        await own_postgres.start()
        await process.wait_for_line("process.started")

        assert '"waiting_for":"PostgreSQL"' in process.stderr
        assert "start.delayed" in line.group()


async def test_a_worker_waits_for_a_missing_redis(
    database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """A worker that starts before Redis says so, and starts when it is there."""
    await own_valkey.stop()
    async with running_stack(
        database_url=database_url, redis_url=own_valkey.url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        worker = stack.start("worker")
        await worker.wait_for_line('"waiting_for":"Redis"')
        await own_valkey.start()
        await worker.wait_for_line("process.started")


async def test_a_postgres_that_goes_away_during_the_start_is_waited_for(
    redis_url: str, proxy: PostgresProxy, tmp_path: Path
) -> None:
    """A worker that cannot read the breakers, the last thing that it needs, says so, and starts when it can."""
    proxy.cuts_messages = True
    proxy.lose_answers_to(b"FROM breakers", one_in=1)
    async with running_stack(
        database_url=proxy.url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        worker = stack.start("worker")
        await worker.wait_for_line('"waiting_for":"the limiter"')
        proxy.lose_none()
        await worker.wait_for_line("process.started")

        assert proxy.lost >= 1


async def test_a_schema_that_is_behind_is_waited_for(
    empty_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """A process on an empty database says which migration is missing, and starts when it is there."""
    async with running_stack(
        database_url=empty_database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        process = stack.start("api")
        await process.wait_for_line("0001.*batch-release migrate")
        await migrate(empty_database_url)
        await process.wait_for_line("process.started")


async def test_a_process_that_waits_at_start_ends_when_told_to(redis_url: str, tmp_path: Path) -> None:
    """SIGTERM while waiting for Postgres ends both kinds of process at once, with exit code 0."""
    missing = f"postgresql://postgres@/postgres?host={tmp_path}"
    async with running_stack(
        database_url=missing, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        processes = [stack.start("api"), stack.start("worker")]
        for process in processes:
            await process.wait_for_line("start.delayed")
            process.send(signal.SIGTERM)

        assert [await process.wait(within=5.0) for process in processes] == [0, 0]


async def test_a_claim_that_fails_gives_its_permit_back(
    own_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path
) -> None:
    """Postgres goes away between permit and claim: the one permit that there is comes back, not after a lease."""
    await migrate(own_postgres.url)
    async with running_stack(
        database_url=own_postgres.url,
        redis_url=redis_url,
        directory=tmp_path,
        faults=UNLIMITED,
        RELEASE_VENDOR_CONCURRENCY="1",
    ) as stack:
        await stack.start_api()
        await stack.start_worker()
        locker = await asyncpg.connect(own_postgres.url)
        await locker.execute("BEGIN")
        await locker.execute("LOCK TABLE attempts IN EXCLUSIVE MODE")
        accepted = await stack.submit(body("1"))
        await eventually(lambda: is_blocked(own_postgres.url), within=10.0)
        own_postgres.kill()
        await own_postgres.start()
        locker.terminate()
        await stack.wait_for(accepted["id"], "released", within=15.0)


async def is_blocked(database_url: str) -> bool:
    connection = await asyncpg.connect(database_url)
    try:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'attempts'::regclass"
            )
        )
    finally:
        await connection.close()
