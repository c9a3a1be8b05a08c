"""What workspaces cost where very many items wait: ``python -m bench.workspaces 100000``."""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import click

from service.core.place import Place
from service.embedded.postgres import EmbeddedPostgres
from service.gateways.migrate import migrate
from service.gateways.store import claiming, lanes, workspace_reading, workspaces
from service.gateways.store.database import Connection, Database, PoolSize

WORKSPACES = 1_000
KEYS_A_WORKSPACE = 4
ROUNDS = 15
EVERYTHING = ("%",)
#: One of the workspaces.
PLACE = Place(project_id="project", workspace="workspace-1")
FILL = (
    """
    INSERT INTO release_requests (
        id, caller, body_digest, project_id, workspace, apply_user_id, approver_ids, batch_key, item_count
    )
    SELECT
        gen_random_uuid(), 'caller', sha256(n::text::bytea), 'project', 'workspace-' || n % $2::integer, 'applicant',
        '{approver}', md5('key' || n % ($2::integer * $3::integer))::uuid, 1
    FROM generate_series(1, $1::integer) AS n
    """,
    """
    INSERT INTO release_items (
        request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from
    )
    SELECT id, 0, project_id, workspace, id, batch_key, 'normal', now() - interval '1 minute' FROM release_requests
    """,
    """
    INSERT INTO workspaces (project_id, workspace, rate)
    SELECT 'project', 'workspace-' || n, 5 FROM generate_series(0, $1::integer - 1, 2) AS n
    """,
    "ANALYZE",
)


async def fill(url: str, items: int) -> None:
    """Let so many items wait, in a thousand workspaces, half of which have a rate of their own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FILL[0], items, WORKSPACES, KEYS_A_WORKSPACE, timeout=300)
        await connection.execute(FILL[1], timeout=300)
        await connection.execute(FILL[2], WORKSPACES)
        await connection.execute(FILL[3], timeout=300)
    finally:
        await connection.close()


async def list_page(connection: Connection, size: int) -> None:
    """Read a page of workspaces from the middle of the list."""
    after = Place(project_id="project", workspace="workspace-5")
    places = await workspace_reading.list_places(connection, visible=EVERYTHING, after=after, limit=size + 1)
    await workspace_reading.describe_workspaces(connection, places)


async def sweep(connection: Connection) -> None:
    """Look for keys that are overdue, of which there are as many as one sweep rings for."""
    second = timedelta(seconds=1)
    await lanes.overdue_keys(connection, items_for=second, batches_for=second, linger=second, limit=1_000)


async def claim(connection: Connection, key: UUID) -> None:
    """Claim a batch, and put it back."""
    transaction = connection.transaction()
    await transaction.start()
    await claiming.claim_items(connection, key, place=PLACE, max_items=100)
    await transaction.rollback()


async def settle(connection: Connection) -> None:
    """Do what each action does beside the row itself."""
    await workspaces.lock_workspace(connection, PLACE, visible=EVERYTHING)
    await workspaces.lift_holds(connection, PLACE)
    await workspaces.keys_with_work(connection, PLACE, limit=1_000)


async def timed(name: str, connection: Connection, work: Callable[[Connection], Awaitable[object]]) -> None:
    """Print the median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await work(connection)
        times.append(time.perf_counter() - started)
    click.echo(f"{name:<42} {1000 * statistics.median(times):8.1f} ms")


async def measure(items: int) -> None:
    """Fill a database of its own, and time what is asked about workspaces."""
    with tempfile.TemporaryDirectory(prefix="batch-release-bench-") as directory:
        async with EmbeddedPostgres(Path(directory)) as server:
            await migrate(server.url)
            await fill(server.url, items)
            database = await Database.open(server.url, PoolSize(smallest=1, largest=2))
            async with database.connection(longest=timedelta(minutes=5)) as connection:
                keys = await workspaces.keys_with_work(connection, PLACE, limit=1)
                await timed("GET /v1/workspaces, 50 rows", connection, lambda c: list_page(c, 50))
                await timed("GET /v1/workspaces, 200 rows", connection, lambda c: list_page(c, 200))
                await timed("a look at a key", connection, lambda c: lanes.look(c, keys[0], max_items=100))
                await timed("a claim of a batch", connection, lambda c: claim(c, keys[0]))
                await timed("pause, resume, flush or settings", connection, settle)
                await timed("a sweep that finds 1,000 keys", connection, sweep)
                await connection.execute("UPDATE workspaces SET paused_at = now()")
                await timed("a sweep with half the workspaces paused", connection, sweep)
            await database.close()


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
