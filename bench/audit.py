"""How long the audit takes over very many requests: ``python -m bench.audit 1000000``."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import click

from service.core.auditing import Patience
from service.core.config import Settings
from service.embedded.postgres import EmbeddedPostgres
from service.flow.audit import RULES
from service.gateways.migrate import migrate
from service.gateways.store import auditing
from service.gateways.store.database import Connection, Database, PoolSize

ITEMS_A_REQUEST = 2
REQUESTS_A_BATCH = 25
#: One request of so many still waits.
WAITING_OF = 100
FILL = (
    """
    CREATE TEMPORARY TABLE plan AS
    SELECT
        n, n % $2 = 0 AS waits, gen_random_uuid() AS id,
        'workspace-' || n % 200 AS workspace, md5('key' || n % 200)::uuid AS batch_key,
        md5('batch' || n % 200 || '/' || n / (200 * $3))::uuid AS batch_id
    FROM generate_series(1, $1::integer) AS n
    """,
    """
    INSERT INTO release_requests (
        id, caller, body_digest, project_id, workspace, apply_user_id, approver_ids, batch_key, state, version,
        finished_at, item_count
    )
    SELECT
        id, 'caller', sha256(n::text::bytea), 'project', workspace, 'applicant', '{approver}', batch_key,
        CASE WHEN waits THEN 'accepted' ELSE 'released' END::request_state, CASE WHEN waits THEN 1 ELSE 3 END,
        CASE WHEN NOT waits THEN now() END, $1
    FROM plan
    """,
    """
    INSERT INTO batches (
        id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count, state,
        release_package_id, finished_at
    )
    SELECT
        batch_id, batch_key, 'project', workspace, 'applicant', '{approver}'::text[],
        'release-' || batch_id, 'quiet'::closed_by, count(*) * $1::integer, 'released'::batch_state,
        'package-' || batch_id, now()
    FROM plan WHERE NOT waits
    GROUP BY batch_id, batch_key, workspace
    """,
    """
    INSERT INTO attempts (batch_id, number, epoch, outcome, http_status, finished_at, evidence)
    SELECT id, 1, 1, 'released', 200, now(), jsonb_build_object('release_package_id', release_package_id) FROM batches
    """,
    """
    INSERT INTO release_items (
        request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, batch_id, state
    )
    SELECT
        id, position, 'project', workspace, n || '-' || position, batch_key, 'normal', now(),
        CASE WHEN NOT waits THEN batch_id END, CASE WHEN waits THEN 'waiting' ELSE 'released' END::item_state
    FROM plan, generate_series(0, $1::integer - 1) AS position
    """,
    """
    INSERT INTO request_events (request_id, seq, type, state)
    SELECT
        id, seq, 'request',
        (ARRAY['accepted', 'releasing', 'released'])[seq]::request_state
    FROM plan, generate_series(1, CASE WHEN waits THEN 1 ELSE 3 END) AS seq
    """,
)


async def measure(requests: int) -> None:
    """Fill a database of its own, and time each rule."""
    with tempfile.TemporaryDirectory(prefix="batch-release-bench-") as directory:
        async with EmbeddedPostgres(Path(directory), settings={"fsync": "off"}) as server:
            await migrate(server.url)
            await fill(server.url, requests)
            database = await Database.open(server.url, PoolSize(smallest=1, largest=1))
            try:
                await database.read_snapshot(time_rules, longest=auditing.LONGEST_AUDIT)
            finally:
                await database.close()


async def fill(database_url: str, requests: int) -> None:
    """Write requests, most of them released, with their items, batches, attempts and events."""
    connection = await asyncpg.connect(database_url)
    arguments: dict[int, tuple[int, ...]] = {
        0: (requests, WAITING_OF, REQUESTS_A_BATCH),
        1: (ITEMS_A_REQUEST,),
        2: (ITEMS_A_REQUEST,),
        4: (ITEMS_A_REQUEST,),
    }
    try:
        for number, statement in enumerate(FILL):
            await connection.execute(statement, *arguments.get(number, ()))
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("UPDATE release_items SET due_from = now() WHERE state = 'waiting'")
    finally:
        await connection.close()


async def time_rules(connection: Connection) -> None:
    """Print how long each rule takes and what it finds."""
    await auditing.begin(connection)
    total = 0.0
    for rule in RULES:
        started = time.perf_counter()
        report = await rule(connection, Patience.of(Settings()))
        seconds = time.perf_counter() - started
        total += seconds
        click.echo(f"{report.rule.value}  {seconds:6.2f} s")
        if report.findings:
            raise click.ClickException(f"{report.count} rows are wrong, such as {report.findings[0]}")
    click.echo(f"all {total:6.2f} s")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1])))
