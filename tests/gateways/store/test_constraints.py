"""What the database itself refuses: states that no release can be in, whatever writes them."""

from collections.abc import AsyncIterator, Mapping

import asyncpg
import pytest

from service.core.ids import new_id

Row = Mapping[str, str]
#: A value that is SQL, not text.
NOW = "now()"

API_KEY: Row = {
    "id": "gen_random_uuid()",
    "name": "'ci'",
    "key_sha256": "sha256('k')",
    "scopes": "'{read,submit}'",
    "workspaces": "'{p/w}'",
}
ACCESS_KEY: Row = {
    "id": "gen_random_uuid()",
    "name": "'ci'",
    "access_key": "'REL1'",
    "sealed_secret": "'sealed'",
    "scopes": "'{read,submit}'",
    "workspaces": "'{p/w}'",
}
REQUEST: Row = {
    "id": "$request",
    "caller": "'c'",
    "body_digest": "sha256('b')",
    "project_id": "'p'",
    "workspace": "'w'",
    "apply_user_id": "'u'",
    "approver_ids": "'{a}'",
    "batch_key": "gen_random_uuid()",
}
BATCH: Row = {
    "id": "$batch",
    "batch_key": "gen_random_uuid()",
    "project_id": "'p'",
    "workspace": "'w'",
    "apply_user_id": "'u'",
    "approver_ids": "'{a}'",
    "package_name": "'release-w-1'",
    "closed_by": "'quiet'",
    "item_count": "1",
    "state": "'sealed'",
}
SENDING: Row = {**BATCH, "state": "'sending'", "worker": "'host:1'", "lease_expires_at": NOW}
RELEASED: Row = {**BATCH, "state": "'released'", "release_package_id": "'9'", "finished_at": NOW}
ATTEMPT: Row = {"batch_id": "$batch", "number": "1", "epoch": "1"}
CLOSED: Row = {**ATTEMPT, "outcome": "'released'", "finished_at": NOW}
ITEM: Row = {
    "request_id": "$request",
    "position": "0",
    "project_id": "'p'",
    "workspace": "'w'",
    "pending_item_id": "'26'",
    "batch_key": "gen_random_uuid()",
    "priority": "'normal'",
    "due_from": NOW,
}
TAKEN: Row = {**ITEM, "batch_id": "$batch", "state": "'releasing'"}


class Table:
    """Writes rows of SQL expressions; ``$request`` and ``$batch`` stand for rows of the test's own."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._ids = {"$request": f"'{new_id()}'", "$batch": f"'{new_id()}'"}

    async def insert(self, table: str, row: Row) -> None:
        """Insert one row."""
        columns = ", ".join(row)
        values = ", ".join(self._ids.get(value, value) for value in row.values())
        await self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({values})")  # noqa: S608 - the test's own

    async def change(self, table: str, assignments: str) -> None:
        """Change all rows of a table."""
        await self._connection.execute(f"UPDATE {table} SET {assignments}")  # noqa: S608 - the test's own


@pytest.fixture
async def table(shared_database_url: str) -> AsyncIterator[Table]:
    """A transaction that sees one request, and one batch that is sealed; the connection's end takes it back."""
    connection = await asyncpg.connect(shared_database_url)
    try:
        await connection.execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE")
        written = Table(connection)
        await written.insert("release_requests", REQUEST)
        await written.insert("batches", BATCH)
        yield written
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("table_name", "row"),
    [
        ("api_keys", API_KEY),
        ("api_keys", ACCESS_KEY),
        ("signed_calls", {"signature": "sha256('s')"}),
        ("body_generations", {"caller": "'c'", "body_digest": "sha256('b')"}),
        ("release_requests", {**REQUEST, "id": "gen_random_uuid()", "idempotency_key": "'k'"}),
        (
            "release_requests",
            {**REQUEST, "id": "gen_random_uuid()", "state": "'released'", "finished_at": NOW},
        ),
        ("batches", {**SENDING, "id": "gen_random_uuid()"}),
        ("batches", {**RELEASED, "id": "gen_random_uuid()"}),
        ("batches", {**BATCH, "id": "gen_random_uuid()", "not_before": NOW, "wait_reason": "'backoff'"}),
        ("attempts", ATTEMPT),
        ("attempts", CLOSED),
        ("release_items", ITEM),
        ("release_items", TAKEN),
        ("release_items", {**ITEM, "state": "'expired'"}),
        ("holds", {"batch_key": "gen_random_uuid()", "reason": "'rate'", "until": NOW}),
    ],
)
async def test_the_rows_that_the_service_writes_are_taken(table: Table, table_name: str, row: Row) -> None:
    """Each row from which the impossible ones below are made is possible itself."""
    await table.insert(table_name, row)


@pytest.mark.parametrize(
    ("table_name", "row"),
    [
        ("api_keys", {**API_KEY, "name": "''"}),
        ("api_keys", {**API_KEY, "key_sha256": "'short'"}),
        ("api_keys", {**API_KEY, "scopes": "'{}'"}),
        ("api_keys", {**API_KEY, "scopes": "'{root}'"}),
        ("api_keys", {**API_KEY, "workspaces": "'{}'"}),
        ("api_keys", {**API_KEY, "apply_user_ids": "'{}'"}),
        ("api_keys", {**API_KEY, "access_key": "'REL1'"}),
        ("api_keys", {**API_KEY, "sealed_secret": "'sealed'"}),
        ("api_keys", {**ACCESS_KEY, "sealed_secret": "NULL"}),
        ("api_keys", {**ACCESS_KEY, "access_key": "NULL"}),
        ("api_keys", {**ACCESS_KEY, "key_sha256": "sha256('k')"}),
        ("signed_calls", {"signature": "'short'"}),
        ("signed_calls", {"signature": "sha256('s')", "times_seen": "0"}),
        ("body_generations", {"caller": "'c'", "body_digest": "'short'"}),
        ("body_generations", {"caller": "'c'", "body_digest": "sha256('b')", "generation": "0"}),
        ("release_requests", {**REQUEST, "id": "gen_random_uuid()", "idempotency_key": "''"}),
        ("release_requests", {**REQUEST, "id": "gen_random_uuid()", "idempotency_key": "repeat('k', 256)"}),
        ("release_requests", {**REQUEST, "id": "gen_random_uuid()", "body_digest": "'short'"}),
        ("release_requests", {**REQUEST, "id": "gen_random_uuid()", "approver_ids": "'{}'"}),
        ("release_requests", {**REQUEST, "id": "gen_random_uuid()", "labels": "'[]'"}),
        ("release_requests", {**REQUEST, "id": "gen_random_uuid()", "version": "0"}),
        ("release_requests", {**REQUEST, "id": "gen_random_uuid()", "finished_at": NOW}),
        ("batches", {**BATCH, "id": "gen_random_uuid()", "approver_ids": "'{}'"}),
        ("batches", {**BATCH, "id": "gen_random_uuid()", "item_count": "0"}),
        ("batches", {**BATCH, "id": "gen_random_uuid()", "item_count": "101"}),
        ("batches", {**BATCH, "id": "gen_random_uuid()", "epoch": "0"}),
        ("batches", {**BATCH, "id": "gen_random_uuid()", "counted_attempts": "-1"}),
        ("attempts", {**ATTEMPT, "number": "0"}),
        ("release_items", {**ITEM, "position": "-1"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_value_out_of_bounds_is_refused(table: Table, table_name: str, row: Row) -> None:
    """Counts, lengths and lists have bounds in the database too."""
    with pytest.raises(asyncpg.CheckViolationError):
        await table.insert(table_name, row)


@pytest.mark.parametrize(
    "state", ["released", "partly_released", "rejected", "failed", "cancelled", "expired"]
)
async def test_a_request_that_is_done_has_an_end(table: Table, state: str) -> None:
    """No request is done without the time at which it was."""
    with pytest.raises(asyncpg.CheckViolationError, match="release_requests_done_has_time"):
        await table.change("release_requests", f"state = '{state}'")


@pytest.mark.parametrize("state", ["accepted", "batched", "releasing", "in_doubt", "needs_attention"])
async def test_a_request_that_is_not_done_has_no_end(table: Table, state: str) -> None:
    """No request has an end while it is still under way."""
    with pytest.raises(asyncpg.CheckViolationError, match="release_requests_done_has_time"):
        await table.change("release_requests", f"state = '{state}', finished_at = now()")


IMPOSSIBLE_BATCHES = [
    ("sending without a lease", {**SENDING, "lease_expires_at": "NULL"}, "batches_lease_while_sending"),
    ("sending without a worker", {**SENDING, "worker": "NULL"}, "batches_lease_while_sending"),
    ("sealed with a lease", {**BATCH, "lease_expires_at": NOW}, "batches_lease_while_sending"),
    ("sealed with a worker", {**BATCH, "worker": "'host:1'"}, "batches_lease_while_sending"),
    ("in doubt with a lease", {**SENDING, "state": "'in_doubt'"}, "batches_lease_while_sending"),
    ("released under a lease", {**RELEASED, "worker": "'x'"}, "batches_lease_while_sending"),
    (
        "released without a package",
        {**RELEASED, "release_package_id": "NULL"},
        "batches_released_has_package",
    ),
    ("released with an empty package", {**RELEASED, "release_package_id": "''"}, "release_package_id"),
    ("sealed with a package", {**BATCH, "release_package_id": "'9'"}, "batches_released_has_package"),
    ("rejected with a package", {**RELEASED, "state": "'rejected'"}, "batches_released_has_package"),
    ("released without an end", {**RELEASED, "finished_at": "NULL"}, "batches_done_has_time"),
    ("rejected without an end", {**BATCH, "state": "'rejected'"}, "batches_done_has_time"),
    ("failed without an end", {**BATCH, "state": "'failed'"}, "batches_done_has_time"),
    ("split without an end", {**BATCH, "state": "'split'"}, "batches_done_has_time"),
    ("sealed with an end", {**BATCH, "finished_at": NOW}, "batches_done_has_time"),
    ("in doubt with an end", {**BATCH, "state": "'in_doubt'", "finished_at": NOW}, "batches_done_has_time"),
    ("released and waiting", {**RELEASED, "not_before": NOW}, "batches_waits_only_when_live"),
    ("sending and waiting", {**SENDING, "wait_reason": "'rate'"}, "batches_waits_only_when_live"),
]


@pytest.mark.parametrize(
    ("row", "constraint"),
    [(row, constraint) for _, row, constraint in IMPOSSIBLE_BATCHES],
    ids=[name for name, _, _ in IMPOSSIBLE_BATCHES],
)
async def test_a_batch_that_cannot_be_is_refused(table: Table, row: Row, constraint: str) -> None:
    """A batch's state, lease, package, end and wait always fit each other."""
    with pytest.raises(asyncpg.CheckViolationError, match=constraint):
        await table.insert("batches", {**row, "id": "gen_random_uuid()"})


@pytest.mark.parametrize(
    "row",
    [{**ATTEMPT, "outcome": "'released'"}, {**ATTEMPT, "finished_at": NOW}],
    ids=["no end", "no outcome"],
)
async def test_an_attempt_is_closed_with_its_outcome(table: Table, row: Row) -> None:
    """An attempt has both an outcome and an end, or neither."""
    with pytest.raises(asyncpg.CheckViolationError, match="attempts_closed_has_outcome"):
        await table.insert("attempts", row)


async def test_a_batch_has_one_open_attempt(table: Table) -> None:
    """A second call is not recorded while the first one is open."""
    await table.insert("attempts", ATTEMPT)

    with pytest.raises(asyncpg.UniqueViolationError, match="attempts_one_open"):
        await table.insert("attempts", {**ATTEMPT, "number": "2"})


async def test_a_batch_may_have_several_attempts_one_after_the_other(table: Table) -> None:
    """An attempt that is closed stands in the way of none."""
    await table.insert("attempts", CLOSED)
    await table.insert("attempts", {**ATTEMPT, "number": "2"})


@pytest.mark.parametrize(
    "state", ["batched", "releasing", "in_doubt", "needs_attention", "released", "rejected", "failed"]
)
async def test_an_item_that_was_taken_names_its_batch(table: Table, state: str) -> None:
    """No item gets anywhere without a batch."""
    with pytest.raises(asyncpg.CheckViolationError, match="release_items_batch_once_taken"):
        await table.insert("release_items", {**ITEM, "state": f"'{state}'"})


@pytest.mark.parametrize("state", ["waiting", "cancelled", "expired"])
async def test_an_item_that_was_not_taken_has_no_batch(table: Table, state: str) -> None:
    """An item in a batch can neither wait nor be taken back."""
    with pytest.raises(asyncpg.CheckViolationError, match="release_items_batch_once_taken"):
        await table.insert("release_items", {**TAKEN, "state": f"'{state}'"})


LIVE_OR_RELEASED = ["waiting", "batched", "releasing", "in_doubt", "needs_attention", "released"]
GIVEN_UP = ["rejected", "failed", "cancelled", "expired"]


def holder(state: str) -> Row:
    base = ITEM if state in {"waiting", "cancelled", "expired"} else TAKEN
    return {**base, "state": f"'{state}'"}


@pytest.mark.parametrize("state", LIVE_OR_RELEASED)
async def test_a_pending_item_has_one_holder(table: Table, state: str) -> None:
    """Whoever holds an item, live or released, keeps every other from releasing it again."""
    await table.insert("release_items", holder(state))

    with pytest.raises(asyncpg.UniqueViolationError, match="item_holders_pkey"):
        await table.insert("release_items", {**ITEM, "position": "1"})


@pytest.mark.parametrize("state", GIVEN_UP)
async def test_a_holder_that_gave_up_blocks_nobody(table: Table, state: str) -> None:
    """An item that was not released may be handed in again."""
    await table.insert("release_items", holder(state))
    await table.insert("release_items", {**ITEM, "position": "1"})


@pytest.mark.parametrize("name", ["project_id", "workspace", "pending_item_id"])
async def test_the_same_id_elsewhere_is_another_item(table: Table, name: str) -> None:
    """Pending items are told apart by project, workspace and id."""
    await table.insert("release_items", ITEM)
    await table.insert("release_items", {**ITEM, "position": "1", name: "'other'"})


async def test_attached_rows_hold_nothing(table: Table) -> None:
    """A row that is attached to a holder is no holder itself."""
    await table.insert("release_items", ITEM)
    attached = {**ITEM, "holder_id": "(SELECT min(id) FROM release_items)"}
    await table.insert("release_items", {**attached, "position": "1"})
    await table.insert("release_items", {**attached, "position": "2"})


async def test_a_position_of_a_request_is_taken_once(table: Table) -> None:
    """The items of a request have an order."""
    await table.insert("release_items", ITEM)

    with pytest.raises(asyncpg.UniqueViolationError, match=r"release_items_\w+_pkey"):
        await table.insert("release_items", {**ITEM, "pending_item_id": "'27'"})


async def test_an_idempotency_key_of_a_caller_is_taken_once(table: Table) -> None:
    """The same key of another caller is another key."""
    keyed = {"request_id": "gen_random_uuid()", "caller": "'c'", "idempotency_key": "'k'"}
    await table.insert("idempotency_keys", keyed)
    await table.insert("idempotency_keys", {**keyed, "caller": "'d'"})

    with pytest.raises(asyncpg.UniqueViolationError, match="idempotency_keys_pkey"):
        await table.insert("idempotency_keys", keyed)


@pytest.mark.parametrize(
    ("table_name", "row"),
    [
        ("attempts", {**ATTEMPT, "batch_id": "gen_random_uuid()"}),
        ("release_items", {**TAKEN, "batch_id": "gen_random_uuid()"}),
        ("release_items", {**ITEM, "request_id": "gen_random_uuid()"}),
        ("batches", {**BATCH, "id": "gen_random_uuid()", "parent_id": "gen_random_uuid()"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_nothing_refers_to_what_is_not_there(table: Table, table_name: str, row: Row) -> None:
    """Attempts, items and children belong to rows that exist."""
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await table.insert(table_name, row)
