"""Sees how PostgreSQL runs the statements of the store: which rows it reads, and how many it thought there were."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import asyncpg

from service.gateways.store.database import PLANNING, Connection, Database

#: Tables that grow for as long as the service is used.
GROWING = frozenset(
    {
        "release_requests",
        "release_items",
        "request_events",
        "idempotency_keys",
        "item_holders",
        "batches",
        "attempts",
        "audit_log",
    }
)
#: A partition, and the table that it is a part of.
PARTITION = re.compile("(release_requests|release_items|request_events)_[0-9a-z]+")
#: Indexes of what is under way alone: to read all of one is to read what waits.
OF_WHAT_IS_UNDER_WAY = frozenset(
    {
        "release_items_untaken_places",
        "release_items_untaken_deadlines",
        "batches_sealed",
        "batches_sealed_by_workspace",
        "batches_refused",
        "batches_sending",
        "batches_in_doubt",
        "batches_needing_attention",
        "attempts_one_open",
    }
)

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index of a table or of a partition."""

    #: The name of the index of the whole table.
    name: str
    #: Its first column: a condition on others alone goes through all of it.
    leading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A node of a plan that reads a table that grows."""

    node: Node
    table: str
    #: Whether something above it stops it when it has enough.
    is_limited: bool
    #: By the names that plans have.
    indexes: Mapping[str, Index]

    @property
    def reads_all(self) -> bool:
        """Whether it goes through the whole table, or the whole of an index that has all its rows."""
        if self.node["Node Type"] == "Seq Scan":
            return True
        if self.is_limited or self.node["Node Type"] == "Bitmap Heap Scan":
            return False
        index = self.indexes[self.node["Index Name"]]
        return index.name not in OF_WHAT_IS_UNDER_WAY and index.leading not in self.node.get("Index Cond", "")

    @property
    def rows_read(self) -> float:
        """How many rows it has read, with those that it threw away; entries of an index alone cost little."""
        if self.node["Node Type"] == "Bitmap Index Scan":
            return 0.0
        thrown_away = sum(
            self.node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        )
        return float((self.node["Actual Rows"] + thrown_away) * self.node["Actual Loops"])

    @property
    def misjudged_by(self) -> float:
        """How many times more or fewer rows came than were expected; some rows more or fewer count little."""
        if self.is_limited or not self.node["Actual Loops"]:
            return 1.0
        expected, came = self.node["Plan Rows"] + 10, self.node["Actual Rows"] + 10
        return float(max(expected / came, came / expected))

    def __str__(self) -> str:
        """Show what a reader of a failed test wants to know."""
        shown = (
            "Node Type",
            "Index Name",
            "Index Cond",
            "Filter",
            "Plan Rows",
            "Actual Rows",
            "Actual Loops",
        )
        return f"{self.table}: " + ", ".join(
            f"{name} {self.node[name]}" for name in shown if name in self.node
        )


def scans_of(plan: Node, *, indexes: Mapping[str, Index]) -> list[Scan]:
    """Return what in a plan reads a table that grows."""
    return [
        Scan(node=node, table=table, is_limited=is_limited, indexes=indexes)
        for node, table, is_limited in _scans_of(plan, is_limited=False, table=None)
    ]


def _scans_of(node: Node, *, is_limited: bool, table: str | None) -> Iterator[tuple[Node, str, bool]]:
    is_limited = is_limited or node["Node Type"] == "Limit"
    table = node.get("Relation Name", table if node["Node Type"] in _OF_A_BITMAP else None)
    partition = PARTITION.fullmatch(table or "")
    table = partition[1] if partition else table
    if table in GROWING and "Scan" in node["Node Type"]:
        yield node, table, is_limited
    for below in node.get("Plans", ()):
        yield from _scans_of(below, is_limited=is_limited and node["Node Type"] != "Sort", table=table)


_OF_A_BITMAP = frozenset({"Bitmap Index Scan", "BitmapAnd", "BitmapOr"})


@dataclass(frozen=True, slots=True)
class Explaining:
    """Stands for a connection: explains each statement as it is run, and keeps what it saw."""

    connection: Connection
    seen: list[tuple[str, list[Scan]]] = field(default_factory=list)

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Explain a statement and run it."""
        await self._explain(statement, arguments)
        return await self.connection.fetch(statement, *arguments)

    async def fetchrow(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """Explain a statement and run it."""
        await self._explain(statement, arguments)
        return await self.connection.fetchrow(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: object, **options: int) -> object:
        """Explain a statement and run it."""
        await self._explain(statement, arguments)
        return await self.connection.fetchval(statement, *arguments, **options)

    async def execute(self, statement: str, *arguments: object) -> str:
        """Explain a statement and run it."""
        await self._explain(statement, arguments)
        return await self.connection.execute(statement, *arguments)

    def transaction(self, **options: Any) -> asyncpg.transaction.Transaction:  # noqa: ANN401 - whatever asyncpg takes
        """Return a transaction of the connection."""
        return self.connection.transaction(**options)

    async def _explain(self, statement: str, arguments: tuple[object, ...]) -> None:
        once = self.connection.transaction()
        await once.start()
        await self.connection.execute(f"PREPARE explained AS {statement}")
        values = await self._values(arguments)
        explained = await self.connection.fetchval(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE explained{values}"
        )
        await self.connection.execute("DEALLOCATE explained")
        await once.rollback()
        self.seen.append((statement, scans_of(json.loads(explained)[0]["Plan"], indexes={})))

    async def _values(self, arguments: tuple[object, ...]) -> str:
        """Write the arguments as SQL: for given ones EXPLAIN makes a plan of its own, which the service does not."""
        types = await self.connection.fetchval(
            "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'explained'"
        )
        written = [
            await self.connection.fetchval(f"SELECT quote_nullable($1::{kind}::text)", argument)
            for kind, argument in zip(types, arguments, strict=True)
        ]
        return f"({', '.join(written)})" if written else ""


class ExplainingDatabase(Database):
    """A database whose every statement is explained as it is run; for services that run inside the test."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", dsn: str) -> None:
        super().__init__(pool, dsn)
        self.seen: list[tuple[str, list[Scan]]] = []

    @asynccontextmanager
    async def connection(self, *, longest: timedelta = timedelta(seconds=20)) -> AsyncIterator[Connection]:
        """Lend a connection that explains what it runs."""
        async with super().connection(longest=longest) as connection:
            yield cast("Connection", Explaining(connection, self.seen))


@asynccontextmanager
async def planning(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Lend a connection that plans as the service's do; it keeps no statements of its own."""
    connection = await asyncpg.connect(database_url, server_settings=PLANNING, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


INDEXES = """
SELECT
    x.indexrelid::regclass::text AS name, coalesce(p.inhparent, x.indexrelid)::regclass::text AS whole,
    pg_get_indexdef(x.indexrelid, 1, TRUE) AS leading
FROM pg_index AS x
LEFT JOIN pg_inherits AS p ON p.inhrelid = x.indexrelid
"""


async def indexes_of(connection: Connection) -> dict[str, Index]:
    """Return all indexes by their names."""
    rows = await connection.fetch(INDEXES)
    return {row["name"]: Index(name=row["whole"], leading=row["leading"]) for row in rows}


async def lasting_plan(connection: "asyncpg.Connection[asyncpg.Record]", statement: str) -> Node:
    """Return the plan that PostgreSQL makes for all values, and keeps."""
    prepared = await connection.prepare(statement)
    count = len(prepared.get_parameters())
    nothing = f"({', '.join(['NULL'] * count)})" if count else ""
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE explained AS {statement}")
    explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained{nothing}")
    await connection.execute("DEALLOCATE explained")
    plan: Node = json.loads(explained)[0]["Plan"]
    return plan
