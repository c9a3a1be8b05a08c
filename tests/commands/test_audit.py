"""The audit as an operator runs it: clean after a real run, and exit 1 with the row that was corrupted by hand."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from service.core.auditing import MOST_NAMED, Patience, Rule, RuleReport
from service.core.config import Settings
from service.flow.audit import RULES, audit_unless_running, check_rules
from service.flow.audit_self_test import self_test
from service.gateways.store import auditing
from service.gateways.store.database import Connection, Database, PoolSize
from tests.conftest import StartService
from tests.support.emulator import UNLIMITED
from tests.support.invariants import check_invariants
from tests.support.stack import Stack, body, free_port, running_stack
from tests.support.waiting import eventually

#: For each rule a change by hand that breaks it, and what of the row is named.
CORRUPTIONS = {
    "A1 a request left behind": (
        "A1",
        "UPDATE release_requests SET state = 'releasing', finished_at = NULL RETURNING id",
    ),
    "A1 an item of a batch that is over": (
        "A1",
        "UPDATE release_items SET state = 'releasing' RETURNING request_id",
    ),
    "A2 a batch that nobody sends": (
        "A2",
        (
            "UPDATE batches SET state = 'sealed', release_package_id = NULL, finished_at = NULL,"
            " created_at = now() - interval '1 day', updated_at = now() - interval '1 day' RETURNING id"
        ),
    ),
    "A2 a refusal that nobody looks into": (
        "A2",
        (
            "UPDATE batches SET state = 'refused', release_package_id = NULL, finished_at = NULL,"
            " not_before = now() - interval '1 day', updated_at = now() - interval '1 day' RETURNING id"
        ),
    ),
    "A2 an item that nobody takes": (
        "A2",
        (
            "WITH old AS (UPDATE batches SET updated_at = now() - interval '1 day')"
            " UPDATE release_items SET state = 'waiting', batch_id = NULL, due_from = now() - interval '1 day'"
            " RETURNING request_id"
        ),
    ),
    "A2 a lease that nobody takes over": (
        "A2",
        (
            "UPDATE batches SET state = 'sending', release_package_id = NULL, finished_at = NULL, worker = 'w',"
            " lease_expires_at = now() - interval '1 day' RETURNING id"
        ),
    ),
    "A2 a doubt that nobody looks at": (
        "A2",
        "UPDATE batches SET state = 'in_doubt', release_package_id = NULL, finished_at = NULL RETURNING id",
    ),
    "A2 an item that is never due": (
        "A2",
        (
            "WITH old AS (UPDATE batches SET updated_at = now()) UPDATE release_items SET state = 'waiting',"
            " batch_id = NULL, due_from = 'infinity' RETURNING request_id"
        ),
    ),
    "A2 a deadline that nobody keeps": (
        "A2",
        (
            "UPDATE release_items SET state = 'waiting', batch_id = NULL, due_from = now(),"
            " deadline = now() - interval '1 day' RETURNING request_id"
        ),
    ),
    "A2 a batch that nobody is to look at": (
        "A2",
        (
            "UPDATE batches SET state = 'sealed', release_package_id = NULL, finished_at = NULL,"
            " not_before = '2999-01-01' RETURNING id"
        ),
    ),
    "A2 a lease that does not end": (
        "A2",
        (
            "UPDATE batches SET state = 'sending', release_package_id = NULL, finished_at = NULL, worker = 'w',"
            " lease_expires_at = 'infinity' RETURNING id"
        ),
    ),
    "A2 a hold that does not end": (
        "A2",
        (
            "INSERT INTO holds (batch_key, reason, until) SELECT batch_key, 'rate', 'infinity' FROM batches"
            " ON CONFLICT (batch_key) DO UPDATE SET until = excluded.until RETURNING batch_key"
        ),
    ),
    "A2 a breaker that does not close": (
        "A2",
        (
            "INSERT INTO breakers (credential, project_id, workspace, reason, changed_at, openings, until)"
            " VALUES ('c', 'p', 'w', 'failures', now(), 1, '2999-01-01') RETURNING 'breaker of p/w'"
        ),
    ),
    "A3 an item released twice": (
        "A3",
        (
            "WITH second AS (INSERT INTO batches (id, batch_key, project_id, workspace, apply_user_id, approver_ids,"
            " package_name, closed_by, item_count, state, release_package_id, finished_at)"
            " SELECT gen_random_uuid(), batch_key, project_id, workspace, apply_user_id, approver_ids, 'second',"
            " closed_by, item_count, state, 'other', finished_at FROM batches RETURNING id)"
            " INSERT INTO release_items (request_id, position, project_id, workspace, pending_item_id, batch_key,"
            " priority, due_from, holder_id, batch_id, state) SELECT i.request_id, 1, i.project_id, i.workspace,"
            " i.pending_item_id, i.batch_key, i.priority, i.due_from, i.id, s.id, i.state"
            " FROM release_items AS i, second AS s RETURNING pending_item_id"
        ),
    ),
    "A4 a release without evidence": (
        "A4",
        "UPDATE attempts SET outcome = 'in_doubt' RETURNING batch_id",
    ),
    "A4 a release by an answer that was none": (
        "A4",
        "UPDATE attempts SET http_status = 500 RETURNING batch_id",
    ),
    "A4 a package that no answer named": (
        "A4",
        "UPDATE batches SET release_package_id = 'other' RETURNING id",
    ),
    "A4 an item that is gone": (
        "A4",
        "DELETE FROM release_items WHERE id = (SELECT max(id) FROM release_items) RETURNING batch_id",
    ),
    "A4 a released item of a batch that is not": (
        "A4",
        (
            "UPDATE batches SET state = 'failed', release_package_id = NULL"
            " RETURNING (SELECT request_id FROM release_items LIMIT 1)"
        ),
    ),
    "A4 a package of two batches": (
        "A4",
        (
            "INSERT INTO batches (id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name,"
            " closed_by, item_count, state, release_package_id, finished_at)"
            " SELECT gen_random_uuid(), batch_key, project_id, workspace, apply_user_id, approver_ids, 'second',"
            " closed_by, item_count, state, release_package_id, finished_at FROM batches"
            " RETURNING 'package ' || release_package_id || ' of'"
        ),
    ),
    "A4 an answer that named another package": (
        "A4",
        (
            "WITH proof AS (INSERT INTO attempts (batch_id, number, epoch, outcome, finished_at, evidence)"
            " SELECT id, 2, 1, 'in_doubt', now(), jsonb_build_object('resolution',"
            " jsonb_build_object('release_package_id', release_package_id)) FROM batches)"
            ' UPDATE attempts SET evidence = \'{"release_package_id": "other"}\''
            " RETURNING 'attempt 1 of batch ' || batch_id"
        ),
    ),
    "A4 a look that found another package": (
        "A4",
        (
            'UPDATE attempts SET evidence = evidence || \'{"looks": [{"saw": "absent"}, {"saw": "found",'
            ' "release_package_id": "other"}, {"saw": "absent"}]}\' RETURNING \'attempt 1 of batch \' || batch_id'
        ),
    ),
    "A4 a package of a batch that is not released": (
        "A4",
        (
            "WITH free AS (UPDATE release_items SET state = 'failed')"
            " UPDATE batches SET state = 'failed', release_package_id = NULL RETURNING 'attempt 1 of batch ' || id"
        ),
    ),
    "A4 a batch released by two calls": (
        "A4",
        (
            "INSERT INTO attempts (batch_id, number, epoch, outcome, http_status, finished_at, evidence)"
            " SELECT batch_id, 2, epoch, outcome, http_status, finished_at, evidence FROM attempts"
            " RETURNING 'batch ' || batch_id"
        ),
    ),
    "A5 a doubt that does not end": (
        "A5",
        (
            "WITH long_ago AS (UPDATE attempts SET outcome = 'in_doubt', finished_at = now() - interval '1 day')"
            " UPDATE batches SET state = 'in_doubt', release_package_id = NULL, finished_at = NULL,"
            " not_before = now() + interval '1 hour' RETURNING id"
        ),
    ),
    "A5 an attempt left open": (
        "A5",
        "UPDATE attempts SET outcome = NULL, finished_at = NULL RETURNING batch_id",
    ),
    "A5 a call without an open attempt": (
        "A5",
        (
            "UPDATE batches SET state = 'sending', release_package_id = NULL, finished_at = NULL, worker = 'w',"
            " lease_expires_at = now() RETURNING id"
        ),
    ),
    "A5 a doubt without a call": (
        "A5",
        (
            "WITH gone AS (DELETE FROM attempts) UPDATE batches SET state = 'needs_attention',"
            " release_package_id = NULL, finished_at = NULL RETURNING id"
        ),
    ),
    "A5 a refusal without a call": (
        "A5",
        (
            "WITH gone AS (DELETE FROM attempts) UPDATE batches SET state = 'rejected', release_package_id = NULL"
            " RETURNING id"
        ),
    ),
    "A5 an attempt that is missing": (
        "A5",
        "UPDATE attempts SET number = 2 RETURNING batch_id",
    ),
    "A5 an attempt of a later epoch": (
        "A5",
        "UPDATE attempts SET epoch = 9 RETURNING batch_id",
    ),
    "A6 an item of another workspace": (
        "A6",
        "UPDATE release_items SET workspace = 'another' RETURNING request_id",
    ),
    "A6 an item in another state than its batch": (
        "A6",
        "UPDATE release_items SET state = 'rejected' RETURNING request_id",
    ),
    "A6 an item of another batch key": (
        "A6",
        "UPDATE release_items SET batch_key = gen_random_uuid() RETURNING request_id",
    ),
    "A6 a batch of another applicant": (
        "A6",
        "UPDATE batches SET apply_user_id = 'another' RETURNING (SELECT request_id FROM release_items LIMIT 1)",
    ),
    "A6 an item that its request did not ask for": (
        "A6",
        (
            "INSERT INTO release_items (request_id, position, project_id, workspace, pending_item_id, batch_key,"
            " priority, due_from, holder_id, batch_id, state) SELECT request_id, 1, project_id, workspace,"
            " pending_item_id, batch_key, priority, due_from, id, batch_id, state FROM release_items"
            " RETURNING request_id"
        ),
    ),
    "A6 a gap in the items of a request of an earlier version": (
        "A6",
        (
            "WITH moved AS (UPDATE release_items SET position = 1)"
            " UPDATE release_requests SET item_count = NULL RETURNING id"
        ),
    ),
    "A6 a request with another approver": (
        "A6",
        "UPDATE release_requests SET approver_ids = approver_ids || '{another}' RETURNING id",
    ),
    "A6 an item that is attached to itself": (
        "A6",
        "UPDATE release_items SET holder_id = id RETURNING request_id",
    ),
    "A6 a request that was done before": (
        "A6",
        "UPDATE request_events SET state = 'failed' WHERE seq = 2 RETURNING request_id",
    ),
    "A6 an event that is missing": (
        "A6",
        "DELETE FROM request_events WHERE seq = 2 RETURNING request_id",
    ),
    "A6 a state that its items do not come to": (
        "A6",
        "UPDATE release_requests SET state = 'failed' RETURNING id",
    ),
    "A6 an item that is held and may be asked for": (
        "A6",
        "DELETE FROM item_holders RETURNING request_id",
    ),
    "A6 an item that is kept and not held": (
        "A6",
        "UPDATE item_holders SET request_id = gen_random_uuid() RETURNING request_id",
    ),
    "A6 a key that another may use": (
        "A6",
        "UPDATE release_requests SET idempotency_key = 'k' RETURNING id",
    ),
    "A6 a key that is kept for nobody": (
        "A6",
        (
            "INSERT INTO idempotency_keys (idempotency_key, caller, request_id)"
            " VALUES ('k', 'c', gen_random_uuid()) RETURNING 'key k of c'"
        ),
    ),
    "A7 a package of another id": (
        "A7",
        "UPDATE batches SET release_package_id = 'other' RETURNING id",
    ),
}
#: The whole command is run for the first of each rule.
ONE_A_RULE = list({rule: name for name, (rule, _) in reversed(CORRUPTIONS.items())}.values())
PATIENCE = Patience.of(Settings())


@pytest.fixture
async def stack(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack whose vendor throttles once and loses an answer, one HTTP process and one worker."""
    rules = [{"fault": "429", "count": 1, "retry_after": "1"}, {"fault": "drop_after", "count": 1}]
    async with running_stack(
        database_url=database_url,
        redis_url=redis_url,
        directory=tmp_path,
        faults={**UNLIMITED, "rules": rules},
        RELEASE_SETTLE_SECONDS="0.5",
        RELEASE_RECHECK_SECONDS="0.5",
        RELEASE_CALL_TIMEOUT_SECONDS="2",
    ) as stack:
        await stack.start_api()
        await stack.start_worker()
        yield stack


async def audit(stack: Stack, *options: str) -> tuple[int, list[dict[str, str]]]:
    """Run the command; returns its exit code and the rows that it names."""
    process = stack.start("audit", "-o", "json", *options)
    code = await process.wait(within=30.0)
    assert code in {0, 1}, process.stderr
    findings: list[dict[str, str]] = json.loads(process.stdout)
    return code, findings


async def test_a_run_with_faults_is_clean(stack: Stack) -> None:
    """After a throttled call and one whose answer was lost, all rules hold, with the vendor's lists too."""
    ids = await stack.submit_all([body(str(n // 2), workspace=f"ws-{n % 2}") for n in range(20)])
    await check_invariants(stack, ids)

    assert await audit(stack, "--vendor") == (0, [])


@pytest.mark.parametrize("corruption", ONE_A_RULE)
async def test_a_row_that_was_corrupted_by_hand_is_named(
    database_url: str, redis_url: str, tmp_path: Path, corruption: str
) -> None:
    """Exit 1, with the rule and the row."""
    rule, statement = CORRUPTIONS[corruption]
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await stack.start_api()
        worker = await stack.start_worker()
        accepted = await stack.submit(body("1"))
        await stack.wait_for(accepted["id"], "released")
        worker.kill()
        row = await corrupt(stack, statement)
        code, findings = await audit(stack, *(["--vendor"] if rule == "A7" else []))

    assert code == 1
    assert [f for f in findings if f["rule"] == rule and row in f["row"]], findings


async def test_every_part_of_a_rule_names_its_row(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Each corruption by itself, taken back before the next, is found by its rule; without one all is clean."""
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await stack.start_api()
        worker = await stack.start_worker()
        accepted = await stack.submit(body("1"))
        await stack.wait_for(accepted["id"], "released")
        worker.kill()
        connection = await asyncpg.connect(database_url)
        try:
            missed = [
                name
                for name, (rule, statement) in CORRUPTIONS.items()
                if rule != "A7" and not await finds(connection, rule, statement)
            ]
            report = await check_rules(connection, PATIENCE)
        finally:
            await connection.close()

    assert missed == []
    assert report.is_clean


async def finds(connection: asyncpg.Connection, rule: str, statement: str) -> bool:
    """Corrupt a row, audit, and take the corruption back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        row = str(await connection.fetchval(statement))
        report = await check_rules(connection, PATIENCE)
    finally:
        await transaction.rollback()
    return any(finding.rule == rule and row in finding.row for finding in report.findings)


async def corrupt(stack: Stack, statement: str) -> str:
    connection = await asyncpg.connect(stack.database_url)
    try:
        return str(await connection.fetchval(statement))
    finally:
        await connection.close()


async def test_an_attached_item_that_is_gone_is_named(stack: Stack) -> None:
    """A request that lost the last of its items, one that another request holds, is one finding of A6."""
    first = await stack.submit(body("1"))
    second = await stack.submit(body("9", "1"))
    await check_invariants(stack, [first["id"], second["id"]])
    row = await corrupt(
        stack, "DELETE FROM release_items WHERE holder_id IS NOT NULL RETURNING 'request ' || request_id"
    )

    assert row == f"request {second['id']}"
    assert [finding["row"] for finding in (await audit(stack))[1]] == [row]


async def test_a_package_made_behind_its_back_is_named(stack: Stack) -> None:
    """A package under a name of ours that no batch has is one finding of A7."""
    accepted = await stack.submit(body("1"))
    request = await stack.wait_for(accepted["id"], "released")
    await corrupt(stack, "UPDATE batches SET package_name = 'another' RETURNING id")
    code, findings = await audit(stack, "--vendor")

    assert code == 1
    assert request["items"][0]["package_name"] in findings[0]["detail"]


async def test_workers_audit_by_themselves(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """With a short period a worker shows and logs the rule and the row soon after it was corrupted."""
    port = free_port()
    async with running_stack(
        database_url=database_url,
        redis_url=redis_url,
        directory=tmp_path,
        faults=UNLIMITED,
        RELEASE_AUDIT_SECONDS="0.3",
        RELEASE_WORKER_HTTP_PORT=str(port),
    ) as stack:
        await stack.start_api()
        worker = await stack.start_worker()
        accepted = await stack.submit(body("1"))
        await stack.wait_for(accepted["id"], "released")
        await eventually(lambda: violations(port, "A4", 0), within=20.0)
        row = await corrupt(stack, CORRUPTIONS["A4 a release without evidence"][1])
        await eventually(lambda: violations(port, "A4", 1), within=20.0)
        line = await worker.wait_for_line(r"^.*audit\.violated.*$", within=20.0)

    logged = json.loads(line.group())
    assert (logged["rule"], logged["count"], logged["level"]) == ("A4", 1, "warning")
    assert row in logged["rows"][0]


async def violations(port: int, rule: str, count: int) -> bool:
    """Tell whether the worker's metrics show so many rows that break the rule."""
    async with aiohttp.request("GET", f"http://127.0.0.1:{port}/metrics") as response:
        assert response.content_type == "text/plain"
        return f'release_audit_violations{{rule="{rule}"}} {count:.1f}' in await response.text()


async def test_one_worker_audits_at_a_time(database_url: str) -> None:
    """While one audits, another leaves it to that one; afterwards it may."""
    database = await Database.open(database_url, PoolSize(smallest=1, largest=2))
    try:

        async def while_locked(connection: Connection) -> object:
            assert await auditing.try_lock(connection)
            return await audit_unless_running(database, PATIENCE)

        during = await database.read_snapshot(while_locked, longest=auditing.LONGEST_AUDIT)
        afterwards = await audit_unless_running(database, PATIENCE)
    finally:
        await database.close()

    assert during is None
    assert afterwards is not None
    assert afterwards.is_clean


async def test_the_self_test_finds_every_damage(start_service: StartService, database_url: str) -> None:
    """On an empty database too, each of the seven damages is found, and nothing is left behind."""
    process = start_service(
        "audit", "--self-test", "-o", "json", environment={"RELEASE_DATABASE_URL": database_url}
    )
    code = await process.wait(within=30.0)
    tested = json.loads(process.stdout)

    assert code == 0, process.stderr
    assert [(row["rule"], row["damage"]) for row in tested] == [(rule.value, "found") for rule in Rule]


@pytest.mark.parametrize("blinded", range(len(RULES)), ids=[rule.value for rule in Rule][:-1])
async def test_the_self_test_of_a_rule_that_finds_nothing_fails(database_url: str, blinded: int) -> None:
    """A rule that is blind is named by the self-test, and no other."""

    async def blind(connection: Connection, patience: Patience) -> RuleReport:
        report = await RULES[blinded](connection, patience)
        return RuleReport(rule=report.rule, count=0, findings=())

    checks = [blind if number == blinded else check for number, check in enumerate(RULES)]
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    try:
        tested = await self_test(database, PATIENCE, checks=checks)
    finally:
        await database.close()

    assert [rule.is_good for rule in tested] == [n != blinded for n in range(len(Rule))]


async def test_all_are_counted_and_some_are_named(database_url: str, start_service: StartService) -> None:
    """Of very many wrong rows the first hundred are shown, with the number of all."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO release_requests (id, caller, body_digest, project_id, workspace, apply_user_id, approver_ids,"
        " batch_key) SELECT gen_random_uuid(), 'c', sha256('b'), 'p', 'w', 'u', '{a}', gen_random_uuid()"
        " FROM generate_series(1, 150)"
    )
    await connection.close()
    process = start_service("audit", environment={"RELEASE_DATABASE_URL": database_url})
    code = await process.wait(within=30.0)

    assert code == 1
    assert process.stdout.count("none of its items is under way") == MOST_NAMED
    assert "A1  150 wrong" in process.stdout


async def test_without_a_database_it_says_what_is_missing(start_service: StartService) -> None:
    """Exit 2 and one sentence."""
    process = start_service("audit")

    assert await process.wait(within=20.0) == 2
    assert "RELEASE_DATABASE_URL is not set" in process.stderr
