"""What must hold at the end of a run, beside the invariants that every scenario ends with."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg

from tests.chaos.history import History
from tests.chaos.world import CALL_TIMEOUT, CONCURRENCY, RATE, World
from tests.support.invariants import check_invariants
from tests.support.link import Passage
from tests.support.sql import fetch_value

#: A limit of r calls per second allows r + max(1, r/4) in a sliding second, and a call may leave late: a loaded
#: machine, or a frozen worker that wakes up with its permits.
MOST_IN_A_SECOND = RATE + max(1, RATE // 4) + CONCURRENCY
#: A connection may stay open after its call has run out of time: of a frozen worker, or in a network that is silent.
LONGEST_CALL = 0.8 * CALL_TIMEOUT
DENIED_ITEMS = (
    "SELECT DISTINCT pending_item_id FROM release_items WHERE state IN ('rejected', 'failed', 'expired')"
)
BEGUN_BETWEEN = """
SELECT count(*)
FROM attempts AS a
JOIN batches AS b ON b.id = a.batch_id
WHERE b.workspace = $1 AND a.started_at > to_timestamp($2) AND a.started_at < to_timestamp($3)
"""
TABLES = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"


async def check_all(world: World, history: History) -> None:
    """Check everything, once it is at rest.

    Raises:
        AssertionError: something does not hold; the message shows what.
    """
    assert history.wrongs == []
    assert history.known_through("queue"), "nothing came in through the queue"
    await check_invariants(world.stack, history.ids)
    await assert_one_row_per_key(world, history)
    await assert_only_bad_items_are_denied(world)
    assert_calls_keep_the_limits(world.links["vendor"].passages)
    await assert_pauses_were_kept(world)
    await assert_audit_is_clean(world)
    await assert_no_secret_is_kept(world)
    assert world.deaths == [], "processes ended of their own accord"


async def assert_one_row_per_key(world: World, history: History) -> None:
    """I1: each key made one request, and nothing else did."""
    stored = await fetch_value(world.postgres.url, "SELECT count(*) FROM release_requests")

    assert len(history.ids) == len(set(history.ids)) == len(history.entries) == stored


async def assert_only_bad_items_are_denied(world: World) -> None:
    """Nobody's item fails for the faults, or for what it was in a batch with."""
    connection = await asyncpg.connect(world.postgres.url)
    try:
        denied = {row["pending_item_id"] for row in await connection.fetch(DENIED_ITEMS)}
    finally:
        await connection.close()

    assert denied <= set(world.poisoned), f"denied without reason: {denied - set(world.poisoned)}"


async def assert_pauses_were_kept(world: World) -> None:
    """No call was begun for a workspace between the answer to its pause and the order to resume it."""
    begun = [
        await fetch_value(world.postgres.url, BEGUN_BETWEEN, pause.workspace, pause.begins, pause.ends)
        for pause in world.pauses
    ]

    assert begun == [0] * len(world.pauses)


async def assert_audit_is_clean(world: World) -> None:
    """Our own audit, which asks the vendor's lists as well, has nothing to say."""
    audit = world.stack.start("audit", "--vendor", "-o", "json")

    assert await audit.wait(within=300.0) == 0, f"{audit.stdout}\n{audit.stderr}"


def assert_calls_keep_the_limits(passages: Sequence[Passage]) -> None:
    """I7: the calls of any sliding second, and those under way at once, are no more than allowed."""
    begins = sorted(passage.began for passage in passages)
    in_a_second = max((sum(at <= other < at + 1.0 for other in begins) for at in begins), default=0)
    at_once = max((_under_way(passages, at) for at in begins), default=0)

    assert in_a_second <= MOST_IN_A_SECOND, f"I7: {in_a_second} calls in a second"
    # A worker may be frozen between its last look and the write, for longer than its permit lasts.
    assert at_once <= CONCURRENCY + 1, f"I7: {at_once} calls at once"


def _under_way(passages: Sequence[Passage], at: float) -> int:
    return sum(
        passage.began <= at < min(passage.ended or at + 1.0, passage.began + LONGEST_CALL)
        for passage in passages
    )


async def assert_no_secret_is_kept(world: World) -> None:
    """I8: no secret is in a log, in a table, or in anything that Redis ever held."""
    places = {**dict(_files_of(world)), **await _tables_of(world.postgres.url)}
    found = [name for name, text in places.items() for secret in world.secrets if secret.encode() in text]

    assert found == [], f"I8: secrets in {found}"


def _files_of(world: World) -> Iterator[tuple[str, bytes]]:
    for path in (*world.directory.glob("*.std???"), *_append_only_files(world)):
        yield path.name, path.read_bytes()


def _append_only_files(world: World) -> list[Path]:
    files = [path for path in world.valkey_directory.rglob("*.aof") if path.is_file()]
    assert files, "Valkey keeps no append-only file"
    return files


async def _tables_of(database_url: str) -> dict[str, bytes]:
    connection = await asyncpg.connect(database_url)
    try:
        names = [row[0] for row in await connection.fetch(TABLES)]
        return {
            name: "\n".join(
                row[0] or ""
                for row in await connection.fetch(f"SELECT t::text FROM {name} AS t")  # noqa: S608 - names from the catalogue
            ).encode()
            for name in names
        }
    finally:
        await connection.close()
