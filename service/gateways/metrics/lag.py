"""Watches how long the event loop keeps a timer waiting: what blocks it shows here before it shows anywhere else."""

import asyncio

from service.gateways.metrics.process import Metrics

_TICK_SECONDS = 0.25
#: The longest lag is kept for this long and, as the one of the time before, for as long again: no scrape misses it.
_REMEMBERED_SECONDS = 15.0


async def watch_lag(metrics: Metrics) -> None:
    """Show the longest lag of late, until cancelled."""
    clock = asyncio.get_running_loop().time
    before = longest = 0.0
    turns_at = clock() + _REMEMBERED_SECONDS
    while True:
        due_at = clock() + _TICK_SECONDS
        await asyncio.sleep(_TICK_SECONDS)
        longest = max(longest, clock() - due_at)
        metrics.show_lag(max(before, longest))
        if clock() >= turns_at:
            before, longest, turns_at = longest, 0.0, clock() + _REMEMBERED_SECONDS
