"""The first page: how everything stands, at a glance."""

import asyncio
from datetime import timedelta

from aiohttp import web

from service.core.errors import QueueUnavailable
from service.doors.console.chart import draw
from service.doors.console.visit import Visit
from service.doors.facade.keys import VENDOR
from service.flow import workspaces
from service.gateways.access import NoVendor
from service.gateways.limiter_view import LimiterStanding
from service.gateways.store import overview
from service.gateways.store.database import Connection
from service.gateways.store.workspace_reading import WorkspaceView

#: Of more workspaces the first are shown, and the others are on their own page.
_MOST_WORKSPACES = 200
_LONGEST_WAITING_SHOWN = 5
_MISHAPS_SHOWN = 5
#: The page is shown without what Redis would say, should it be away.
_REDIS_SECONDS = 0.5
_SPANS = {"hour": (timedelta(hours=1), 60), "day": (timedelta(days=1), 48)}


async def show(visit: Visit) -> web.StreamResponse:
    """Show what is live, what waits longest, what has ended lately, and what went wrong last."""
    visible = visit.visible

    async def read(
        connection: Connection,
    ) -> tuple[overview.LiveCounts, dict[str, list[overview.Bucket]], list[overview.Mishap]]:
        ended = {
            name: await overview.count_ended(connection, visible=visible, span=span, parts=parts)
            for name, (span, parts) in _SPANS.items()
        }
        mishaps = await overview.latest_mishaps(connection, visible=visible, limit=_MISHAPS_SHOWN)
        return await overview.count_live(connection, visible=visible), ended, mishaps

    live, ended, mishaps = await visit.deps.database.read(read)
    places = await workspaces.list_workspaces(visit.deps, visible=visible, after=None, limit=_MOST_WORKSPACES)
    return visit.render(
        "overview.html",
        counts=live.by_state,
        is_cut=live.is_cut,
        longest=_longest_waiting(places),
        oldest=max((one.oldest_for for one in places if one.oldest_for is not None), default=None),
        paused=[one for one in places if one.governance.is_paused],
        limiter=await _limiter_of(visit),
        broken=[one for one in places if one.breaker is not None],
        charts={name: draw(buckets) for name, buckets in ended.items()},
        mishaps=mishaps,
    )


async def _limiter_of(visit: Visit) -> LimiterStanding | None:
    """Return how the limiter stands; None where this process cannot know."""
    access = visit.request.app[VENDOR]
    if isinstance(access, NoVendor):
        return None
    try:
        async with asyncio.timeout(_REDIS_SECONDS):
            return await access.view.look()
    except (QueueUnavailable, TimeoutError):
        return None


def _longest_waiting(places: list[WorkspaceView]) -> list[WorkspaceView]:
    waiting = [one for one in places if one.waiting and one.oldest_for]
    waiting.sort(key=lambda one: one.oldest_for or timedelta(0), reverse=True)
    return waiting[:_LONGEST_WAITING_SHOWN]
