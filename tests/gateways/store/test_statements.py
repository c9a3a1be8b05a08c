"""Every statement of the store, prepared against the migrated schema."""

import importlib
import pkgutil
from collections.abc import Iterator

import asyncpg
import pytest

from service.gateways import store

WORKER_STATEMENTS = (
    "batches.LOOK_AROUND",
    "batches.SETTLE_BATCH",
    "claiming.CLAIM_ITEMS",
    "claiming.CLAIM_SEALED",
    "claiming.SEAL_BATCH",
    "lanes.HOLD",
    "lanes.LOOK",
    "operations.TAKE_TARGET",
    "progress.FOLLOW_HOLDERS",
    "progress.LOCK_REQUESTS",
    "progress.PROGRESS_REQUESTS",
    "reconciling.LEND_DOUBTS",
)


def statements() -> Iterator[tuple[str, str]]:
    for module_info in pkgutil.iter_modules(store.__path__):
        module = importlib.import_module(f"{store.__name__}.{module_info.name}")
        for name, value in vars(module).items():
            if name.isupper() and not name.startswith("_") and isinstance(value, str) and " " in value:
                yield f"{module_info.name}.{name}", value


@pytest.mark.parametrize(("name", "statement"), list(statements()), ids=[name for name, _ in statements()])
async def test_statement_is_right_for_the_schema(shared_database_url: str, name: str, statement: str) -> None:
    """Each statement names only tables, columns and types that the migrations make."""
    connection = await asyncpg.connect(shared_database_url)
    try:
        prepared = await connection.prepare(statement)

        assert prepared.get_query() == statement, name
    finally:
        await connection.close()


@pytest.mark.parametrize("name", WORKER_STATEMENTS)
async def test_a_worker_asks_for_no_types(shared_database_url: str, name: str) -> None:
    """What it does again and again crosses the wire in PostgreSQL's own types: others cost each connection 5 ms."""
    connection = await asyncpg.connect(shared_database_url)
    try:
        prepared = await connection.prepare(dict(statements())[name])
        types = [*prepared.get_parameters(), *(each.type for each in prepared.get_attributes())]

        assert {each.schema for each in types} <= {"pg_catalog"}
    finally:
        await connection.close()


def test_all_statements_are_found() -> None:
    """The search for statements does find the store's."""
    names = [name for name, _ in statements()]

    assert len(names) > 25
    assert "batches.SETTLE_BATCH" in names
