"""Tells waiting callers that requests have moved on: one listener a process, one notice for all that move at once.

A notice may be lost with its connection, so the process also looks now and then at all requests that are waited for.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import LiteralString
from uuid import UUID

import asyncpg
import structlog

from service.core.errors import DatabaseUnavailable
from service.core.telemetry import LogEvent
from service.gateways.store.api_keys import REVOKED_CHANNEL
from service.gateways.store.database import Connection, Database

CHANNEL = "release_requests_changed"
#: A notice may hold 8,000 bytes; an id takes 37.
_IDS_PER_NOTICE = 200
#: The first notice goes at once; what changes so soon after it shares one.
_GATHER_SECONDS = 0.01
_RECONNECT_SECONDS = 1.0
_CONNECT_TIMEOUT_SECONDS = 5.0
#: A lost notice costs a waiting caller this long.
_LOOK_EVERY_SECONDS = 2.0
#: A connection may be dead without anybody having said so.
_PROBE_SECONDS = 15.0
_LOST = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

NOTIFY: LiteralString = (
    "SELECT pg_notify('release_requests_changed', notice) FROM unnest($1::text[]) AS notice"
)

PROBE: LiteralString = "SELECT 1"

FIND_VERSIONS: LiteralString = "SELECT id, version FROM release_requests WHERE id = ANY($1::uuid[])"

log = structlog.get_logger()


async def announce(connection: Connection, request_ids: Sequence[UUID]) -> None:
    """Wake those who wait for these requests, in all processes; outside a transaction, so that none waits for it."""
    notices = [
        ",".join(str(request_id) for request_id in request_ids[start : start + _IDS_PER_NOTICE])
        for start in range(0, len(request_ids), _IDS_PER_NOTICE)
    ]
    await connection.execute(NOTIFY, notices)


class Changes:
    """Listens for notices on a connection of its own, and wakes the waiters of this process."""

    def __init__(self, dsn: str, database: Database, *, on_told: Callable[[Collection[UUID]], None]) -> None:
        self._dsn = dsn
        self._database = database
        self._on_told = on_told
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        #: Of the requests that were waited for at the last look.
        self._versions: dict[str, int] = {}
        #: Of those who wait for a change of whichever request.
        self._observers: set[asyncio.Event] = set()
        self._at_revocations: list[Callable[[], None]] = []
        #: Of requests that have changed by this process.
        self._untold: set[UUID] = set()
        self._has_untold = asyncio.Event()
        #: Whether the process is ending: nobody should go on waiting.
        self.is_closing = False

    @property
    def waiting(self) -> int:
        """How many waiters there are."""
        return sum(len(events) for events in self._waiters.values())

    @asynccontextmanager
    async def watch(self, request_id: UUID) -> AsyncIterator[asyncio.Event]:
        """Lend an event that is set when the request changes; the waiter clears it."""
        event = asyncio.Event()
        name = str(request_id)
        self._waiters[name].add(event)
        try:
            yield event
        finally:
            self._waiters[name].discard(event)
            if not self._waiters[name]:
                del self._waiters[name]

    @asynccontextmanager
    async def watch_all(self) -> AsyncIterator[asyncio.Event]:
        """Lend an event that is set when whichever request changes; who waits for it clears it."""
        event = asyncio.Event()
        self._observers.add(event)
        try:
            yield event
        finally:
            self._observers.discard(event)

    def call_at_revocations(self, forget: Callable[[], None]) -> None:
        """Have something called whenever a key may have ended, before every waiter wakes to look at its own."""
        self._at_revocations.append(forget)

    def close(self) -> None:
        """Wake every waiter for good: the process is ending."""
        self.is_closing = True
        self.wake_all()

    def wake_all(self) -> None:
        """Wake every waiter: after a gap in listening."""
        for events in (*self._waiters.values(), self._observers):
            for event in events:
                event.set()

    def tell(self, request_ids: Collection[UUID]) -> None:
        """Have those who wait for these requests woken, in all processes; whoever tells waits for nothing."""
        self._untold.update(request_ids)
        self._on_told(request_ids)
        if self._untold:
            self._has_untold.set()

    async def send_notices(self) -> None:
        """Pass on what was told, until cancelled."""
        while True:
            await self._has_untold.wait()
            self._has_untold.clear()
            untold, self._untold = self._untold, set()
            try:
                async with self._database.connection() as connection:
                    await announce(connection, list(untold))
            except DatabaseUnavailable as error:
                log.warning(LogEvent.CHANGES_LOST, reason=str(error))
            await asyncio.sleep(_GATHER_SECONDS)

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is opened again, and everybody looks once."""
        while True:
            try:
                await self._listen()
            except _LOST as error:
                log.warning(LogEvent.CHANGES_LOST, reason=str(error) or type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def look_now_and_then(self) -> None:
        """Look at all requests that are waited for, until cancelled: one statement, however many wait."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            try:
                await self._look()
            except DatabaseUnavailable as error:
                log.warning(LogEvent.CHANGES_LOST, reason=str(error))

    async def _look(self) -> None:
        waited_for = [UUID(request_id) for request_id in self._waiters]
        if not waited_for:
            self._versions = {}
            return
        rows = await self._database.read(lambda connection: connection.fetch(FIND_VERSIONS, waited_for))
        versions = {str(row["id"]): row["version"] for row in rows}
        for request_id, version in versions.items():
            if self._versions.get(request_id) != version:
                self._wake(request_id)
        self._versions = versions

    def _wake(self, request_id: str) -> None:
        for event in self._waiters.get(request_id, ()):
            event.set()

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._dsn, timeout=_CONNECT_TIMEOUT_SECONDS, command_timeout=_CONNECT_TIMEOUT_SECONDS
        )
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _connection: ended.set())
        try:
            await connection.add_listener(CHANNEL, self._on_notice)
            await connection.add_listener(REVOKED_CHANNEL, self._on_revocation)
            self._on_revocation()
            while not await is_set_within(ended, _PROBE_SECONDS):
                await connection.execute(PROBE)
        finally:
            connection.terminate()

    def _on_notice(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for request_id in str(payload).split(","):
            self._wake(request_id)
        for event in self._observers:
            event.set()

    def _on_revocation(self, *_notice: object) -> None:
        for forget in self._at_revocations:
            forget()
        self.wake_all()


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, for this long at most; tell whether it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
