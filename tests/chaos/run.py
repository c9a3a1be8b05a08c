"""One run: callers and faults at the same time, then rest, then the checks; and what is said about it."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.chaos.checks import check_all
from tests.chaos.history import Callers, Entry, History
from tests.chaos.inflict import inflict_all
from tests.chaos.producers import Producers
from tests.chaos.schedule import Fault, draw_tracks
from tests.chaos.world import World, running_world
from tests.support.invariants import wait_until_settled

CALLERS = 4
PRODUCERS = 2
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
OUTCOMES = "SELECT coalesce(outcome::text, 'open') AS name, count(*) AS count FROM attempts GROUP BY outcome"
STATES = "SELECT state::text AS name, count(*) AS count FROM release_requests GROUP BY state"
EVENTS = """
SELECT seq, at, type, state::text AS state, attempt, detail
FROM request_events
WHERE request_id = $1
ORDER BY seq
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """What a run is made of; the same seed draws the same faults."""

    seed: int
    seconds: float
    #: What the vendor does with an item that is in a package: ``strict`` or ``lax``.
    already_packaged: str = "strict"

    @property
    def rest_seconds(self) -> float:
        """How long everything may take to come to rest: looks at doubts that piled up share one rate of reads."""
        return 60.0 + 0.3 * self.seconds


async def run_chaos(chaos: Chaos, directory: Path) -> str:
    """Run it; returns its figures.

    Raises:
        AssertionError: something did not hold; the message has the seed, the schedule and the histories concerned.
    """
    tracks = draw_tracks(chaos.seed, chaos.seconds, is_lax=chaos.already_packaged == "lax")
    history = History()
    async with running_world(directory, already_packaged=chaos.already_packaged) as world:
        try:
            await _misuse(world, history, tracks, chaos)
            rest_seconds = await _await_rest(world, history, within=chaos.rest_seconds)
            await check_all(world, history)
        except AssertionError as error:
            story = await _tell(world, history, tracks, str(error))
            raise AssertionError(f"{error}\n\n{chaos}\n{story}") from None
        return f"{chaos}: {await _figures(world, history, tracks)}, at rest after {rest_seconds:.1f} s"


async def _misuse(world: World, history: History, tracks: Sequence[Sequence[Fault]], chaos: Chaos) -> None:
    """Let callers and faults at the service, until the faults are over."""
    callers, producers = Callers(world, history, chaos.seed), Producers(world, history, chaos.seed)
    watch = asyncio.create_task(_watch_for_deaths(world))
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(callers.run(number))
            for number in range(PRODUCERS):
                group.create_task(producers.run(CALLERS + number))
            await inflict_all(world, tracks)
            callers.stop()
            producers.stop()
            await world.wait_until_ready()
    except BaseExceptionGroup as errors:
        raise AssertionError(f"the harness itself failed: {errors.exceptions!r}") from errors
    finally:
        watch.cancel()


async def _await_rest(world: World, history: History, *, within: float) -> float:
    """Wait until every request is settled; returns how long it took."""
    began = time.monotonic()
    await wait_until_settled(world.stack, history.ids, within=within)
    return time.monotonic() - began


async def _watch_for_deaths(world: World) -> None:
    while True:
        world.bury_the_dead()
        await asyncio.sleep(0.2)  # looks again; nothing waits for it


async def _figures(world: World, history: History, tracks: Sequence[Sequence[Fault]]) -> str:
    connection = await asyncpg.connect(world.postgres.url)
    try:
        outcomes = {row["name"]: row["count"] for row in await connection.fetch(OUTCOMES)}
        states = {row["name"]: row["count"] for row in await connection.fetch(STATES)}
    finally:
        await connection.close()
    calls = await world.emulator.calls()
    logs = Counter(re.findall(r'"(package\.found|absence\.proved|outcome\.fenced)"', _logs(world)))
    unknown = Counter(one.door for one in history.tries if one.status not in {200, 202})
    doors = Counter(one.door for one in history.tries)
    return (
        f"{len(history.entries)} requests {states}, handed in {dict(doors)} of which without an id {dict(unknown)}, "
        f"{len(calls)} calls that reached the vendor, attempts {outcomes}, {dict(logs)}, "
        f"faults {dict(Counter(fault.kind for track in tracks for fault in track))}, "
        f"of the vendor {dict(Counter(call['fault'] for call in calls if call['fault']))}"
    )


def _logs(world: World) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(world.directory.glob("*.std???")))


async def _tell(world: World, history: History, tracks: Sequence[Sequence[Fault]], error: str) -> str:
    """Tell the schedule, and of each request that the error names, its callers' tries, its events and log lines."""
    faults = sorted((fault for track in tracks for fault in track), key=lambda fault: fault.at)
    concerned = set(UUID.findall(error))
    entries = [entry for entry in history.entries if concerned & entry.ids or entry.key in error][:5]
    parts = ["Schedule:", *map(str, faults)]
    for entry in entries:
        parts += await _tell_entry(world, entry)
    parts.append("Errors in the logs:")
    parts += [line for line in _logs(world).splitlines() if "Traceback" in line or '"exception"' in line][:20]
    return "\n".join(parts)


async def _tell_entry(world: World, entry: Entry) -> list[str]:
    parts = [f"\n{entry.key} {entry.ids} {dict(entry.body)}", *map(str, entry.tries)]
    batches: set[str] = set()
    with suppress(OSError, asyncpg.PostgresError):
        connection = await asyncpg.connect(world.postgres.url)
        try:
            for request_id in entry.ids:
                parts += [str(dict(row)) for row in await connection.fetch(EVENTS, request_id)]
                batches |= {
                    str(row["batch_id"])
                    for row in await connection.fetch(
                        "SELECT DISTINCT batch_id FROM release_items WHERE request_id = $1", request_id
                    )
                }
        finally:
            await connection.close()
    lines = _logs(world).splitlines()
    return [*parts, *(line for line in lines if any(batch in line for batch in batches))]
