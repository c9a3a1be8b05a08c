"""What must hold after every scenario, checked on the emulator's ledger, the API and Postgres."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from tests.support.stack import Stack, assert_ledger_agrees
from tests.support.waiting import eventually

RELEASED_PACKAGES = """
SELECT
    b.release_package_id, b.package_name, b.workspace, b.apply_user_id,
    array_agg(i.pending_item_id ORDER BY i.pending_item_id) AS items
FROM batches AS b
JOIN release_items AS i ON i.batch_id = b.id AND i.holder_id IS NULL AND i.state = 'released'
WHERE b.state = 'released'
GROUP BY b.id
"""
UNDECIDED_NAMES = "SELECT package_name FROM batches WHERE state = 'needs_attention'"
OPEN_ATTEMPTS = "SELECT batch_id, number, started_at FROM attempts WHERE outcome IS NULL"
TIMELINES = """
SELECT
    r.id, r.state::text AS state, r.version,
    array_agg(e.seq ORDER BY e.seq) AS seqs, array_agg(e.state::text ORDER BY e.seq) AS states
FROM release_requests AS r
LEFT JOIN request_events AS e ON e.request_id = r.id
GROUP BY r.id
"""
DONE = frozenset({"released", "partly_released", "rejected", "failed", "cancelled", "expired"})


async def check_invariants(stack: Stack, ids: Sequence[str], *, within: float = 60.0) -> None:
    """Wait until every accepted request is settled, and check the invariants I1 to I6 and the audit.

    ``ids`` are all requests that were accepted in this database. An HTTP process must run, and workers until all is
    settled.

    Raises:
        AssertionError: one does not hold; the message shows what is wrong.
    """
    requests = await wait_until_settled(stack, ids, within=within)
    await assert_audit_is_clean(stack)
    await assert_ledger_agrees(stack, requests)
    connection = await asyncpg.connect(stack.database_url)
    try:
        await assert_packages_agree(stack, connection)
        await assert_done_is_done(connection, ids)
        await assert_no_attempt_is_open(connection)
    finally:
        await connection.close()


async def wait_until_settled(stack: Stack, ids: Sequence[str], *, within: float) -> list[dict[str, Any]]:
    """I1: wait until every request is done or waits for an operator; return them all."""
    seen: dict[str, dict[str, Any]] = {}

    async def unsettled() -> dict[str, str]:
        left = {}
        for request_id in ids:
            if request_id not in seen:
                request = await stack.show(request_id)
                if request["done"] or request["state"] == "needs_attention":
                    seen[request_id] = request
                else:
                    left[request_id] = f"{request['state']} {request['wait_reason']}"
        return left

    left: dict[str, str] = {}

    async def all_settled() -> bool:
        nonlocal left
        left = await unsettled()
        return not left

    try:
        await eventually(all_settled, within=within, every=0.2)
    except AssertionError:
        raise AssertionError(f"I1: not settled within {within} s: {left}") from None
    return [seen[request_id] for request_id in ids]


async def assert_packages_agree(stack: Stack, connection: asyncpg.Connection) -> None:
    """I2, I3: the vendor and Postgres have the same packages, both ways, and no item is in two."""
    ledger = await stack.emulator.ledger()
    undecided = {row["package_name"] for row in await connection.fetch(UNDECIDED_NAMES)}
    ours = {
        _identity(dict(row), row["release_package_id"]) for row in await connection.fetch(RELEASED_PACKAGES)
    }
    theirs = {_identity(package, package["package_id"]): package for package in ledger["packages"]}
    unknown = [
        package
        for identity, package in theirs.items()
        if identity not in ours and package["package_name"] not in undecided
    ]

    assert ledger["duplicates"] == [], f"I2: {ledger['duplicates']}"
    assert ours - theirs.keys() == set(), "I3: released here, but not at the vendor"
    assert unknown == [], "I3: at the vendor, but not released here"


def _identity(package: Mapping[str, Any], package_id: str) -> tuple[str, str, str, str, tuple[str, ...]]:
    return (
        package_id,
        package["package_name"],
        package["workspace"],
        package["apply_user_id"],
        tuple(sorted(package["items"])),
    )


async def assert_done_is_done(connection: asyncpg.Connection, ids: Sequence[str]) -> None:
    """I1, I5: each accepted request is stored; its events have no gap, and none comes after a done state."""
    timelines = {str(row["id"]): row for row in await connection.fetch(TIMELINES)}

    assert set(ids) <= timelines.keys(), f"I1: lost {set(ids) - timelines.keys()}"
    for request_id, row in timelines.items():
        what = f"I5: {request_id} {row['state']} {row['version']}: {row['seqs']} {row['states']}"
        assert row["seqs"] == list(range(1, row["version"] + 1)), what
        assert row["states"][-1] == row["state"], what
        assert DONE.isdisjoint(row["states"][:-1]), what


async def assert_no_attempt_is_open(connection: asyncpg.Connection) -> None:
    """I6: every call has an outcome."""
    left = [dict(row) for row in await connection.fetch(OPEN_ATTEMPTS)]

    assert left == [], f"I6: {left}"


async def assert_audit_is_clean(stack: Stack) -> None:
    """The audit of the service itself finds nothing."""
    audit = stack.start("audit")
    code = await audit.wait(within=60.0)

    assert code == 0, audit.stdout + audit.stderr
