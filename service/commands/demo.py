"""Runs the main job against a vendor that misbehaves, shows its progress, and checks the result."""

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import click

from service.commands.audit import make_report
from service.commands.comparison import Comparison, compare
from service.commands.demo_producers import DemoPlan, Producers, plan_demo
from service.commands.local import LocalOptions, LocalStack, local_stack, service_environment
from service.commands.start import Start
from service.core.auditing import AuditReport
from service.core.config import Settings
from service.core.credentials import find_credentials
from service.core.errors import ServiceError
from service.core.model import RequestState
from service.gateways.store import summary
from service.gateways.store.database import Database, PoolSize

POISONED_ITEM = "poisoned"
#: What the emulator does to the calls of the demo.
FAULTS: dict[str, Any] = {
    "seed": 7,
    "latency_seconds": 0.03,
    "items": "listed",
    "poisoned_items": [POISONED_ITEM],
    "rules": [
        {"fault": "429", "count": 2, "retry_after": "1"},
        {"fault": "503_before", "count": 2, "workspace": "billing"},
        {"fault": "503_before", "count": 1, "workspace": "crm"},
        {"fault": "drop_after", "count": 2, "workspace": "finance"},
        {"fault": "504_after", "count": 1, "workspace": "risk"},
        {"fault": "drop_before", "count": 1, "workspace": "risk"},
    ],
}
ENVIRONMENT = {
    "RELEASE_BATCH_MAX_ITEMS": "20",
    "RELEASE_BACKOFF_BASE_SECONDS": "0.3",
    "RELEASE_SETTLE_SECONDS": "1",
    "RELEASE_RECHECK_SECONDS": "0.5",
    "RELEASE_LOG_LEVEL": "info",
}
_WITHIN_SECONDS = 45.0
_SHOW_EVERY_SECONDS = 0.5


async def run_demo() -> int:
    """Run the demo; 0 when the audit is clean, and Postgres and the emulator's ledger agree in everything."""
    plan = plan_demo(random.Random(7), poisoned_item=POISONED_ITEM)  # noqa: S311 - a demo that repeats itself
    with tempfile.TemporaryDirectory(prefix="batch-release-demo-") as directory:
        click.echo("starting PostgreSQL, Valkey, the vendor emulator, one HTTP process and two workers …")
        options = LocalOptions(data=Path(directory), port=0, workers=2, environment=ENVIRONMENT)
        async with local_stack(options) as stack, _open(stack) as (http, database):
            click.echo(f"API {stack.api_url}, emulator {stack.emulator_url}")
            await prepare_emulator(http, stack, plan)
            started = time.monotonic()
            producing = asyncio.ensure_future(Producers(http, stack).run(plan))
            await watch(database, producing, total=plan.total)
            seconds = time.monotonic() - started
            click.echo("auditing …")
            report = await audit_stack(stack)
            comparison = await compare(http, database, stack)
    click.echo(summarise(comparison, report, seconds=seconds))
    return 0 if comparison.is_clean and report.is_clean else 1


async def audit_stack(stack: LocalStack) -> AuditReport:
    """Audit as `batch-release audit --vendor` would."""
    environment = service_environment(stack, 0) | ENVIRONMENT
    credentials = find_credentials(environment, home=stack.logs)
    start = Start(settings=Settings.from_env(environment), credentials=credentials)
    return await make_report(start, is_vendor_asked=True)


@asynccontextmanager
async def _open(stack: LocalStack) -> AsyncIterator[tuple[aiohttp.ClientSession, Database]]:
    database = await Database.open(stack.database_url, PoolSize(smallest=1, largest=1))
    try:
        async with aiohttp.ClientSession() as http:
            yield http, database
    finally:
        await database.close()


async def prepare_emulator(http: aiohttp.ClientSession, stack: LocalStack, plan: DemoPlan) -> None:
    """Tell the vendor which pending items there are, and how it shall misbehave."""
    for workspace, items in plan.items_by_workspace().items():
        listed = {"workspace": workspace, "items": [{"pending_item_id": item} for item in items]}
        async with http.post(f"{stack.emulator_url}/_items", json=listed) as response:
            response.raise_for_status()
    async with http.put(f"{stack.emulator_url}/_faults", json=FAULTS) as response:
        response.raise_for_status()


async def watch(database: Database, producing: "asyncio.Future[None]", *, total: int) -> None:
    """Show how the requests move until all are done.

    Raises:
        ServiceError: they were not done in time.
    """
    started = time.monotonic()
    while time.monotonic() - started < _WITHIN_SECONDS:
        async with database.connection() as connection:
            states = await summary.count_requests(connection)
        words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        click.echo(f"{time.monotonic() - started:5.1f} s  {words or 'nothing yet'}")
        if producing.done():
            producing.result()
            if is_over(states, total):
                return
        await asyncio.sleep(_SHOW_EVERY_SECONDS)
    raise ServiceError(f"the requests of the demo were not done within {_WITHIN_SECONDS:g} s")


def is_over(states: Counter[str], total: int) -> bool:
    """Tell whether every request is there and done."""
    return sum(n for state, n in states.items() if RequestState(state).is_done) == states.total() == total


def summarise(comparison: Comparison, report: AuditReport, *, seconds: float) -> str:
    """Say in figures what happened, whether the audit is clean, and whether the two sides agree."""
    attempts, calls, doubts = comparison.attempts, comparison.vendor_calls, comparison.doubts
    lines = [
        "",
        f"requests      {comparison.requests.total()}: {_words(comparison.requests)}",
        f"items         {comparison.items.total()}: {_words(comparison.items)}",
        f"batches       {comparison.batches.total()}: {_words(comparison.batches)}",
        f"vendor calls  {calls.total()}: {_words(calls)}",
        f"429s          {attempts['throttled']}, each waited out at no cost",
        f"in doubt      {attempts['in_doubt']} calls: {doubts['found']} found, {doubts['absent']} resent",
        f"packages      {comparison.packages}",
        f"duplicates    {sum('packages' in line for line in comparison.differences)}",
        f"time          {seconds:.1f} s",
        "",
    ]
    if comparison.is_clean and report.is_clean:
        lines.append(
            "clean: the audit finds nothing, and Postgres and the vendor's ledger agree in every item"
        )
    else:
        lines.append(
            f"NOT CLEAN: {len(comparison.differences)} differences, {report.violations} findings of the audit"
        )
        lines += comparison.differences
        lines += [f"{finding.rule.value} {finding.row} {finding.detail}" for finding in report.findings]
    return "\n".join(lines)


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
