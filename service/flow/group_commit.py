"""Commits release requests in groups: one transaction for all that came in while the last one ran.

Takes: valid requests from the doors of this process.
Leaves: committed rows in Postgres and an outcome for each; then a note to the waker.
If it dies here: before the commit the caller has no answer and asks again; after it, the sweep rings.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from service.core.errors import DatabaseUnavailable
from service.core.telemetry import LogEvent
from service.flow.ring import Waker
from service.gateways.store import accepting, progress
from service.gateways.store.accepting import Holder, ItemRef, NewRequest
from service.gateways.store.database import Connection, Database

_MAX_REQUESTS_PER_COMMIT = 256
_MAX_ITEMS_PER_COMMIT = 4_000
#: A commit whose answer was lost is tried again this long; then the caller is told to.
_RETRY_FOR_SECONDS = 4.0
_RETRY_PAUSE_SECONDS = 0.1
_ANSWER_WITHIN = timedelta(seconds=10)
#: A holder may end between two statements; then its item is free and is tried again.
_HOLD_TRIES = 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The request is durable, and new."""

    request: NewRequest
    created_at: datetime
    #: Whether an item of it is held by an earlier request, whose fate it shares.
    is_attached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The key was used before with the same body: this is that request."""

    request_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReused:
    """The key was used before with another body."""

    request_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemConflict:
    """An item is held by a request with another applicant or other approvers."""

    pending_item_id: str
    request_id: UUID


AcceptOutcome = Accepted | Replayed | KeyReused | ItemConflict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    request: NewRequest
    answer: "asyncio.Future[AcceptOutcome]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Acceptor:
    """Commits release requests in groups: each commit takes what came in during the one before."""

    def __init__(self, database: Database, waker: Waker) -> None:
        self._database = database
        self._waker = waker
        self._entries: deque[_Entry] = deque()
        self._has_entries = asyncio.Event()

    async def accept(self, request: NewRequest) -> AcceptOutcome:
        """Make one request durable; returns after the commit.

        Raises:
            DatabaseUnavailable: it is not known to be durable; asking again with the same key is safe.
        """
        entry = _Entry(request=request)
        self._entries.append(entry)
        self._has_entries.set()
        try:
            async with asyncio.timeout(_ANSWER_WITHIN.total_seconds()):
                return await entry.answer
        except TimeoutError:
            raise DatabaseUnavailable("PostgreSQL does not answer in time") from None

    async def run(self) -> None:
        """Commit group after group until cancelled."""
        while True:
            await self._has_entries.wait()
            group = take_group(self._entries)
            if not self._entries:
                self._has_entries.clear()
            await self._commit(group)

    async def _commit(self, group: Sequence[_Entry]) -> None:
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
            for entry, outcome in zip(group, outcomes, strict=True):
                self._conclude(entry, outcome)

    def _conclude(self, entry: _Entry, outcome: AcceptOutcome) -> None:
        if not entry.answer.done():
            entry.answer.set_result(outcome)
        if isinstance(outcome, Accepted):
            submission = entry.request.submission
            self._waker.note(
                submission.key.digest,
                items=len(submission.pending_item_ids),
                has_deadline=submission.deadline is not None,
            )

    async def _commit_until_known(self, requests: Sequence[NewRequest]) -> list[AcceptOutcome]:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _RETRY_FOR_SECONDS
        while True:
            try:
                return await self._database.transact(lambda connection: accept_group(connection, requests))
            except DatabaseUnavailable as error:
                if loop.time() >= give_up_at:
                    raise
                log.warning(LogEvent.ACCEPT_RETRIED, reason=str(error), requests=len(requests))
            await asyncio.sleep(_RETRY_PAUSE_SECONDS)


def _fail(group: Iterable[_Entry], error: Exception) -> None:
    for entry in group:
        if not entry.answer.done():
            entry.answer.set_exception(error)


def take_group(entries: deque[_Entry]) -> list[_Entry]:
    """Take the next entries that do not touch each other: no idempotency key and no item twice in one commit.

    The first one that does ends the group, so that nobody is overtaken.
    """
    group: list[_Entry] = []
    taken: set[object] = set()
    items = 0
    while entries and len(group) < _MAX_REQUESTS_PER_COMMIT:
        request = entries[0].request
        claims = _claims_of(request)
        items += len(request.submission.pending_item_ids)
        if group and (not taken.isdisjoint(claims) or items > _MAX_ITEMS_PER_COMMIT):
            break
        taken.update(claims)
        group.append(entries.popleft())
    return group


def _claims_of(request: NewRequest) -> set[object]:
    key = request.submission.key
    claims: set[object] = {
        (key.project_id, key.workspace, item) for item in request.submission.pending_item_ids
    }
    if request.idempotency_key is not None:
        claims.add((request.caller, request.idempotency_key))
    return claims


async def accept_group(connection: Connection, requests: Sequence[NewRequest]) -> list[AcceptOutcome]:
    """Write requests that do not touch each other, in the caller's transaction; one outcome each, in order."""
    created = await accepting.insert_requests(connection, requests)
    known = await _find_known(connection, [r for r in requests if r.request_id not in created])
    fresh = [request for request in requests if request.request_id in created]
    conflicts, attached = await _hold_items(connection, fresh)
    outcomes: list[AcceptOutcome] = []
    for request in requests:
        if request.request_id in conflicts:
            outcomes.append(conflicts[request.request_id])
        elif request.request_id in created:
            outcomes.append(
                Accepted(
                    request=request,
                    created_at=created[request.request_id],
                    is_attached=request.request_id in attached,
                )
            )
        else:
            outcomes.append(known[request.request_id])
    return outcomes


async def _find_known(connection: Connection, requests: Sequence[NewRequest]) -> dict[UUID, AcceptOutcome]:
    """Tell what became of requests that were not new: their key was used, or an earlier try of ours had worked."""
    keys = [(r.caller, r.idempotency_key) for r in requests if r.idempotency_key is not None]
    stored = {
        (key.caller, key.idempotency_key): key
        for key in (await accepting.find_keys(connection, keys) if keys else ())
    }
    known: dict[UUID, AcceptOutcome] = {}
    for request in requests:
        key = stored.get((request.caller, request.idempotency_key or ""))
        if key is None or key.request_id == request.request_id:
            known[request.request_id] = Replayed(request_id=request.request_id)
        elif key.digest == request.digest:
            known[request.request_id] = Replayed(request_id=key.request_id)
        else:
            known[request.request_id] = KeyReused(request_id=key.request_id)
    return known


async def _hold_items(
    connection: Connection, requests: Sequence[NewRequest]
) -> tuple[dict[UUID, AcceptOutcome], set[UUID]]:
    """Hold every item, or attach it to who holds it; requests that conflict are withdrawn.

    Returns the conflicts and the ids of requests with attached items.
    """
    left = [
        ItemRef(request=r, position=p) for r in requests for p in range(len(r.submission.pending_item_ids))
    ]
    conflicts: dict[UUID, AcceptOutcome] = {}
    attached: set[UUID] = set()
    for _ in range(_HOLD_TRIES):
        if left:
            held = await accepting.insert_holders(connection, left)
            left = [item for item in left if (item.request.request_id, item.position) not in held]
        if not left:
            return conflicts, attached
        left = await _attach_items(connection, left, conflicts, attached)
    raise DatabaseUnavailable("the items of a request changed hands too often while it was accepted")


async def _attach_items(
    connection: Connection,
    items: Sequence[ItemRef],
    conflicts: dict[UUID, AcceptOutcome],
    attached: set[UUID],
) -> list[ItemRef]:
    """Attach items to their holders and withdraw requests that conflict; return the items that nobody holds now."""
    holders = {
        (holder.project_id, holder.workspace, holder.pending_item_id): holder
        for holder in await accepting.find_holders(connection, items)
    }
    pairs: list[tuple[ItemRef, Holder]] = []
    free: list[ItemRef] = []
    for item in items:
        key = item.request.submission.key
        holder = holders.get((key.project_id, key.workspace, item.pending_item_id))
        if holder is None:
            free.append(item)
        elif (holder.apply_user_id, holder.approver_ids) == (key.apply_user_id, key.approver_ids):
            pairs.append((item, holder))
        else:
            conflicts[item.request.request_id] = ItemConflict(
                pending_item_id=item.pending_item_id, request_id=holder.request_id
            )
    pairs = [pair for pair in pairs if pair[0].request.request_id not in conflicts]
    if pairs:
        await accepting.insert_attached(connection, pairs)
    if conflicts:
        await accepting.withdraw_requests(connection, list(conflicts))
    ids = sorted({item.request.request_id for item, _ in pairs})
    attached.update(ids)
    await progress.follow_requests(connection, ids, detail={"attached": True})
    return [item for item in free if item.request.request_id not in conflicts]
