"""Commits release requests in groups: one transaction for all that came in while the last one ran.

Takes: valid requests from the doors of this process.
Leaves: committed rows in Postgres and an outcome for each; then a note to the waker.
If it dies here: before the commit the caller has no answer and asks again; after it, the sweep rings.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from service.core.caps import TooMuchWaiting
from service.core.errors import DatabaseUnavailable, Overloaded
from service.core.pace import Pace
from service.core.telemetry import LogEvent
from service.flow.accept_group import Accepted, AcceptOutcome, Replayed, accept_group
from service.flow.ring import Waker
from service.flow.waiting_room import WaitingRoom
from service.gateways.metrics.process import Metrics
from service.gateways.store.accepting import NewRequest
from service.gateways.store.database import Connection, Database

_MAX_REQUESTS_PER_COMMIT = 256
_MAX_ITEMS_PER_COMMIT = 4_000
#: How far behind the head of the queue a commit looks for requests that do not touch each other.
_LOOK_AHEAD = 1_024
#: More than Postgres commits within the time for an answer only wait in vain, and fill the memory.
_MAX_WAITING = 5_000
#: What a commit took tells for so long what the next will take.
_PACE_LASTS_SECONDS = 1.0
#: Who would wait longer is told to come again: those who are accepted have their answer soon.
_LONGEST_WAIT_SECONDS = 2.0
#: A commit whose answer was lost is tried again this long; then the caller is told to.
_RETRY_FOR_SECONDS = 4.0
_RETRY_PAUSE_SECONDS = 0.1
_ANSWER_WITHIN_SECONDS = 10.0

log = structlog.get_logger()

CommitOutcome = AcceptOutcome | TooMuchWaiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A request that waits for its commit, and the answer that its caller waits for."""

    request: NewRequest
    answer: "asyncio.Future[CommitOutcome]"
    #: By the event loop's clock: when its caller is told that it takes too long.
    late_at: float


class Acceptor:
    """Commits release requests in groups: each commit takes what came in during the one before."""

    def __init__(self, database: Database, waker: Waker, room: WaitingRoom, metrics: Metrics) -> None:
        self._database = database
        self._room = room
        self._waker = waker
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._entries: deque[Entry] = deque()
        #: What is being committed.
        self._group: Sequence[Entry] = ()
        #: Set while there are entries: when the first of them may be late.
        self._alarm: asyncio.TimerHandle | None = None
        self._has_entries = asyncio.Event()
        self._pace = Pace()
        #: By the event loop's clock: when the pace was seen last.
        self._paced_at = 0.0

    async def accept(self, request: NewRequest) -> CommitOutcome:
        """Make one request durable; returns after the commit.

        Raises:
            Overloaded: it would have to wait for too long.
            DatabaseUnavailable: it is not known to be durable; asking again with the same key is safe.
        """
        if len(self._entries) >= _MAX_WAITING or self._wait_of_a_newcomer() > _LONGEST_WAIT_SECONDS:
            raise Overloaded
        late_at = self._loop.time() + _ANSWER_WITHIN_SECONDS
        entry = Entry(request=request, answer=self._loop.create_future(), late_at=late_at)
        self._entries.append(entry)
        self._has_entries.set()
        if self._alarm is None:
            self._alarm = self._loop.call_at(late_at, self._fail_late)
        return await entry.answer

    def _fail_late(self) -> None:
        """Tell callers that have waited for too long, and come again when the next may have."""
        waiting = [entry for entry in (*self._group, *self._entries) if not entry.answer.done()]
        now = self._loop.time()
        _fail(
            (entry for entry in waiting if entry.late_at <= now),
            DatabaseUnavailable("PostgreSQL does not answer in time"),
        )
        next_late = min((entry.late_at for entry in waiting if entry.late_at > now), default=None)
        self._alarm = None if next_late is None else self._loop.call_at(next_late, self._fail_late)

    def _wait_of_a_newcomer(self) -> float:
        if not self._group and self._is_pace_old():
            return 0.0
        return self._pace.wait_behind(
            len(self._entries), most_requests=_MAX_REQUESTS_PER_COMMIT, most_items=_MAX_ITEMS_PER_COMMIT
        )

    def _is_pace_old(self) -> bool:
        """Whether the last commit tells nothing of the next: it may have waited for a lock that is gone."""
        return self._loop.time() > self._paced_at + _PACE_LASTS_SECONDS

    async def run(self) -> None:
        """Commit group after group until cancelled."""
        while True:
            await self._has_entries.wait()
            self._group = take_group(self._entries)
            if not self._entries:
                self._has_entries.clear()
            if self._group:
                if self._is_pace_old():
                    self._pace = Pace()
                await self._commit(self._group)
                self._group = ()

    async def _commit(self, group: Sequence[Entry]) -> None:
        started = self._loop.time()
        try:
            outcomes = await self._commit_until_known([entry.request for entry in group])
        except DatabaseUnavailable as error:
            _fail(group, error)
        except Exception as error:  # noqa: BLE001 - one request that cannot be written must not fail its neighbours
            if len(group) == 1:
                _fail(group, error)
            else:
                for entry in group:
                    await self._commit([entry])
        else:
            self._metrics.count_commit(requests=len(group))
            self._note_pace(group, self._loop.time() - started)
            for entry, outcome in zip(group, outcomes, strict=True):
                self._conclude(entry, outcome)

    def _note_pace(self, group: Sequence[Entry], seconds: float) -> None:
        items = sum(len(entry.request.submission.pending_item_ids) for entry in group)
        self._pace = self._pace.after(seconds=seconds, requests=len(group), items=items)
        self._paced_at = self._loop.time()

    def _conclude(self, entry: Entry, outcome: CommitOutcome) -> None:
        if not entry.answer.done():
            entry.answer.set_result(outcome)
        if isinstance(outcome, Replayed):
            self._metrics.count_replayed()
        if isinstance(outcome, Accepted):
            self._metrics.count_accepted(shares_items=outcome.may_have_moved)
            submission = entry.request.submission
            self._waker.note(
                submission.key.digest,
                submission.key.place,
                items=len(submission.pending_item_ids),
                has_deadline=submission.deadline is not None,
            )

    async def _commit_until_known(self, requests: Sequence[NewRequest]) -> list[CommitOutcome]:
        give_up_at = self._loop.time() + _RETRY_FOR_SECONDS
        while True:
            try:
                return await self._database.transact(lambda connection: self._write(connection, requests))
            except DatabaseUnavailable as error:
                if self._loop.time() >= give_up_at:
                    raise
                log.warning(LogEvent.ACCEPT_RETRIED, reason=str(error), requests=len(requests))
            await asyncio.sleep(_RETRY_PAUSE_SECONDS)

    async def _write(self, connection: Connection, requests: Sequence[NewRequest]) -> list[CommitOutcome]:
        refused = await self._room.refuse(connection, requests)
        admitted = [request for request in requests if request.request_id not in refused]
        outcomes = iter(await accept_group(connection, admitted) if admitted else ())
        return [refused.get(request.request_id) or next(outcomes) for request in requests]


def _fail(group: Iterable[Entry], error: Exception) -> None:
    for entry in group:
        if not entry.answer.done():
            entry.answer.set_exception(error)


def take_group(entries: deque[Entry]) -> list[Entry]:
    """Take entries for one commit that do not touch each other: no idempotency key and no item twice.

    Nobody overtakes an entry that it touches. Entries whose caller has gone are dropped.
    """
    group: list[Entry] = []
    later: list[Entry] = []
    touched: set[object] = set()
    room = _MAX_ITEMS_PER_COMMIT
    while entries and len(group) < _MAX_REQUESTS_PER_COMMIT and len(later) < _LOOK_AHEAD:
        entry = entries.popleft()
        if entry.answer.done():
            continue
        claims = _claims_of(entry.request)
        size = len(entry.request.submission.pending_item_ids)
        if touched.isdisjoint(claims) and size <= room:
            group.append(entry)
            room -= size
        else:
            later.append(entry)
        touched |= claims
    entries.extendleft(reversed(later))
    return group


def _claims_of(request: NewRequest) -> set[object]:
    key = request.submission.key
    claims: set[object] = {
        (key.project_id, key.workspace, item) for item in request.submission.pending_item_ids
    }
    if request.idempotency_key is not None:
        claims.add((request.caller, request.idempotency_key))
    return claims
