"""The page of worker processes: which there are, how they stand, and which calls they make at this moment."""

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from service.core.worker_signs import REMEMBERED_FOR, WorkerState, state_of
from service.doors.console.visit import Visit
from service.gateways.store.database import Connection
from service.gateways.store.workers import CallView, WorkerView, calls_under_way, list_workers

_MOST_WORKERS = 200
_MOST_CALLS = 500
_ORDER = list(WorkerState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A worker process, how it stands, and its calls that may be seen."""

    worker: WorkerView
    state: WorkerState
    calls: tuple[CallView, ...]


async def index(visit: Visit) -> web.StreamResponse:
    """Show the worker processes of the last day, those that run first."""

    async def read(connection: Connection) -> tuple[list[WorkerView], list[CallView]]:
        found = await list_workers(connection, seen_within=REMEMBERED_FOR, limit=_MOST_WORKERS)
        return found, await calls_under_way(connection, visible=visit.visible, limit=_MOST_CALLS)

    found, calls = await visit.deps.database.read_one_moment(read)
    rows = rows_of(found, calls)
    return visit.render(
        "workers.html",
        rows=rows,
        is_any_running=any(row.state is WorkerState.RUNNING for row in rows),
        strangers=_of_strangers(found, calls),
    )


def rows_of(found: Sequence[WorkerView], calls: Sequence[CallView]) -> list[Row]:
    """Put workers and their calls together, those that run first, then those that have not run for long."""
    rows = [
        Row(
            worker=worker,
            state=state_of(is_draining=worker.is_draining, silent_for=worker.silent_for),
            calls=tuple(call for call in calls if call.worker_id == worker.worker_id),
        )
        for worker in sorted(found, key=lambda one: one.started_at, reverse=True)
    ]
    return sorted(rows, key=lambda row: _ORDER.index(row.state))


def _of_strangers(found: Sequence[WorkerView], calls: Sequence[CallView]) -> list[CallView]:
    """Return the calls of workers that have never given a sign, such as those of an older version."""
    known = {worker.worker_id for worker in found}
    return [call for call in calls if call.worker_id not in known]
