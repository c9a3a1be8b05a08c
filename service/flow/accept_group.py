"""Writes release requests in the caller's transaction, and says what became of each.

Takes: requests that do not touch each other: no idempotency key and no item is in two of them.
Leaves: rows of requests, items and events, not yet committed.
If it dies here: the transaction is rolled back, and nothing was promised.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from service.core.errors import DatabaseUnavailable
from service.gateways.store import accepting, holding, progress
from service.gateways.store.accepting import Created, NewRequest, StoredKey
from service.gateways.store.database import Connection
from service.gateways.store.holding import Holder, ItemRef

#: A holder may end between two statements; then its item is free and is tried again.
_HOLD_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The request is durable, and new."""

    request: NewRequest
    created_at: datetime
    #: Whether it may stand elsewhere than at its start: it shares an item with an earlier request, or an earlier try
    #: of ours had committed it.
    may_have_moved: bool


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
class Comparison:
    """Items that were not free, beside those who hold them."""

    #: Items whose holder wants the same: they share its fate.
    shared: tuple[tuple[ItemRef, Holder], ...]
    #: The first conflict of each request that has one.
    conflicts: dict[UUID, ItemConflict]
    #: Items whose holder has ended meanwhile.
    free: tuple[ItemRef, ...]


@dataclass(slots=True, kw_only=True)
class _Claim:
    """How far a group has got with its items."""

    left: Sequence[ItemRef]
    attached: set[UUID] = field(default_factory=set)
    conflicts: dict[UUID, ItemConflict] = field(default_factory=dict)


async def accept_group(connection: Connection, requests: Sequence[NewRequest]) -> list[AcceptOutcome]:
    """Write the requests; return one outcome each, in order.

    Raises:
        DatabaseUnavailable: rows changed hands under our eyes; trying again is safe.
    """
    created = await accepting.insert_requests(connection, requests)
    claim = await _claim_items(connection, requests, created)
    outcomes: dict[UUID, AcceptOutcome] = {
        **await _find_known(connection, [r for r in requests if r.request_id not in created]),
        **_accepted(requests, {key: new.at for key, new in created.items()}, moved=claim.attached),
        **claim.conflicts,
    }
    return [outcomes[request.request_id] for request in requests]


def _accepted(
    requests: Sequence[NewRequest], created: Mapping[UUID, datetime], *, moved: set[UUID]
) -> dict[UUID, AcceptOutcome]:
    return {
        request.request_id: Accepted(
            request=request,
            created_at=created[request.request_id],
            may_have_moved=request.request_id in moved,
        )
        for request in requests
        if request.request_id in created
    }


async def _find_known(connection: Connection, requests: Sequence[NewRequest]) -> dict[UUID, AcceptOutcome]:
    """Tell what became of requests that were not new: an earlier try of ours had worked, or their key was used."""
    if not requests:
        return {}
    own = await accepting.find_created(connection, [request.request_id for request in requests])
    known = _accepted(requests, own, moved=set(own))
    others = [request for request in requests if request.request_id not in own]
    return known | await _find_by_key(connection, others)


async def _find_by_key(connection: Connection, requests: Sequence[NewRequest]) -> dict[UUID, AcceptOutcome]:
    keys = [(r.caller, r.idempotency_key) for r in requests if r.idempotency_key is not None]
    stored = {
        (key.caller, key.idempotency_key): key
        for key in (await accepting.find_keys(connection, keys) if keys else ())
    }
    try:
        return {
            request.request_id: judge_key(stored[request.caller, request.idempotency_key or ""], request)
            for request in requests
        }
    except KeyError:
        raise DatabaseUnavailable("a request that had the same key is gone") from None


def judge_key(stored: StoredKey, request: NewRequest) -> Replayed | KeyReused:
    """Tell a request that comes again from another one under the same key."""
    if stored.digest == request.digest:
        return Replayed(request_id=stored.request_id)
    return KeyReused(request_id=stored.request_id)


async def _claim_items(
    connection: Connection, requests: Sequence[NewRequest], created: Mapping[UUID, Created]
) -> _Claim:
    """Hold every item, or attach it to who holds it; requests that conflict are withdrawn."""
    claim = _Claim(left=[item for request in requests for item in _left_of(request, created)])
    for _ in range(_HOLD_TRIES):
        if not claim.left:
            await _conclude(connection, claim)
            return claim
        await _attach(connection, claim)
        if claim.left:
            await _hold_free(connection, claim)
    raise DatabaseUnavailable("the items of a request changed hands too often while it was accepted")


def _left_of(request: NewRequest, created: Mapping[UUID, Created]) -> Iterator[ItemRef]:
    """Return the items of a new request that somebody held when it was inserted."""
    new = created.get(request.request_id)
    if new is not None and new.held is not None:
        for position in range(len(request.submission.pending_item_ids)):
            if position not in new.held:
                yield ItemRef(request=request, position=position)


async def _hold_free(connection: Connection, claim: _Claim) -> None:
    held = await holding.insert_holders(connection, claim.left)
    claim.left = [item for item in claim.left if (item.request.request_id, item.position) not in held]


async def _attach(connection: Connection, claim: _Claim) -> None:
    found = compare(claim.left, await holding.find_holders(connection, claim.left))
    attached = await holding.insert_attached(connection, found.shared) if found.shared else set()
    claim.attached |= {request_id for request_id, _ in attached}
    claim.conflicts |= found.conflicts
    lost = [item for item, _ in found.shared if (item.request.request_id, item.position) not in attached]
    claim.left = [*found.free, *lost]


def compare(items: Sequence[ItemRef], holders: Sequence[Holder]) -> Comparison:
    """Sort items that were not free by what their holders want; a request with a conflict keeps nothing."""
    by_place = {(holder.project_id, holder.workspace, holder.pending_item_id): holder for holder in holders}
    beside = [(item, by_place.get(item.place)) for item in items]
    conflicts: dict[UUID, ItemConflict] = {}
    for item, holder in beside:
        if holder is not None and not _wants_the_same(item, holder):
            conflict = ItemConflict(pending_item_id=item.pending_item_id, request_id=holder.request_id)
            conflicts.setdefault(item.request.request_id, conflict)
    standing = [(item, holder) for item, holder in beside if item.request.request_id not in conflicts]
    return Comparison(
        shared=tuple((item, holder) for item, holder in standing if holder is not None),
        conflicts=conflicts,
        free=tuple(item for item, holder in standing if holder is None),
    )


def _wants_the_same(item: ItemRef, holder: Holder) -> bool:
    key = item.request.submission.key
    return (holder.apply_user_id, holder.approver_ids) == (key.apply_user_id, key.approver_ids)


async def _conclude(connection: Connection, claim: _Claim) -> None:
    """Withdraw who conflicts, and let who shares an item start from where that item stands."""
    claim.attached -= claim.conflicts.keys()
    if claim.conflicts:
        await accepting.withdraw_requests(connection, list(claim.conflicts))
    if claim.attached:
        await progress.follow_requests(connection, sorted(claim.attached), detail={"attached": True})
