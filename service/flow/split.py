"""Parts a batch that the vendor refused as a whole: out goes what the lists explain, else it is halved.

Takes: a refused batch of several items, one of which may be at fault.
Leaves: items rejected in the vendor's words, and the others in smaller sealed batches that nothing fresh comes to.
If it dies here: the loan of the batch ends within seconds and the next doorbell looks into it again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog

from service.core.errors import Unavailable
from service.core.ids import new_id
from service.core.model import BatchState, ItemError
from service.core.planning import child_name
from service.core.reconciling import Unreadable
from service.core.refusal import Split, explain, plan_split
from service.core.telemetry import LogEvent
from service.core.verdict import rejection
from service.deps import WorkerDeps
from service.flow.loans import LOAN, keeping
from service.flow.ring import ring_now
from service.flow.tracing import over_refusal
from service.flow.vendor_lists import PendingItems, read_pending_items, reader_of
from service.gateways.store import progress, splitting
from service.gateways.store.database import Connection
from service.gateways.store.splitting import Refusal

#: How long the list may take to be read, besides one call: a doorbell's job does not last much longer.
_AROUND_A_READ = timedelta(seconds=15)
#: How often a list that cannot be read is asked before the batch is halved without it: reads only save calls.
_LOOKS = 3

log = structlog.get_logger()


async def split_refused(deps: WorkerDeps, batch_key: UUID) -> None:
    """Look into one refused batch of the key and part it."""
    refusal = await deps.database.transact(
        lambda connection: splitting.lend_refusal(connection, batch_key, loan=LOAN)
    )
    if refusal is None:
        return
    structlog.contextvars.bind_contextvars(batch_id=str(refusal.batch_id), workspace=refusal.workspace)
    with keeping(deps, {refusal.batch_id: refusal.epoch}), await over_refusal(deps, refusal):
        bad = await find_bad_items(deps, refusal)
    if bad is None:
        async with deps.database.connection() as connection:
            await splitting.put_off_refusal(connection, refusal, delay=deps.settings.recheck)
        return
    await part(deps, refusal, plan_split(refusal.pending_item_ids, bad=bad), batch_key=batch_key)


async def find_bad_items(deps: WorkerDeps, refusal: Refusal) -> Mapping[str, str] | None:
    """Say what the list of pending items has against the items of a batch; None where it should be asked again.

    It is asked about the whole batch, once: it has nothing against the items of a part, or could not be read.
    """
    if refusal.is_part:
        return {}
    pending = await _read_pending_items(deps, refusal)
    if not isinstance(pending, Unreadable):
        return explain(
            refusal.pending_item_ids,
            pending.items,
            apply_user_id=refusal.apply_user_id,
            may_be_ours=refusal.was_in_doubt,
        )
    log.warning(LogEvent.READ_FAILED, reason=pending.reason)
    return None if refusal.refused_for < _LOOKS * deps.settings.recheck else {}


async def _read_pending_items(deps: WorkerDeps, refusal: Refusal) -> PendingItems | Unreadable:
    longest = (deps.settings.call_timeout + _AROUND_A_READ).total_seconds()
    try:
        async with asyncio.timeout(longest):
            pending = await read_pending_items(deps, reader_of(refusal.project_id, refusal.workspace))
    except Unavailable as error:
        return Unreadable(reason=str(error))
    except TimeoutError:
        return Unreadable(reason=f"the list of pending items was not read to its end in {longest:g} s")
    if isinstance(pending, PendingItems) and not pending.is_complete:
        return Unreadable(reason="the vendor's list changed while it was read")
    return pending


async def part(deps: WorkerDeps, refusal: Refusal, split: Split, *, batch_key: UUID) -> None:
    """Write a split, unless somebody else has meanwhile, and have its parts sent."""
    child_ids = [new_id() for _ in split.groups]
    detail: dict[str, object] = {
        "outcome": "split" if child_ids else "rejected",
        "rejected": sorted(split.bad),
        "into": [str(child_id) for child_id in child_ids],
    }

    async def work(connection: Connection) -> list[UUID] | None:
        if not await write_split(connection, refusal, split, child_ids=child_ids):
            return None
        return await progress.follow_batches(
            connection, [refusal.batch_id, *child_ids], attempt=refusal.attempt_number, detail=detail
        )

    request_ids = await deps.database.transact(work)
    if request_ids is None:
        return
    log.info(LogEvent.BATCH_SPLIT, rejected=len(split.bad), parts=[len(group) for group in split.groups])
    deps.changes.tell(request_ids)
    for _ in child_ids:
        await ring_now(deps.doorbells, batch_key)


async def write_split(
    connection: Connection, refusal: Refusal, split: Split, *, child_ids: list[UUID]
) -> bool:
    """End a refused batch, reject what is bad in it and move the rest into its children; False where it has ended."""
    state = BatchState.SPLIT if child_ids else BatchState.REJECTED
    evidence = {"explained": dict(split.bad), "into": [str(child_id) for child_id in child_ids]}
    if not await splitting.end_refused(connection, refusal, state=state, evidence=evidence):
        return False
    await splitting.reject_items(connection, refusal.batch_id, errors_of(refusal, split.bad))
    for child_id, items in zip(child_ids, split.groups, strict=True):
        name = child_name(refusal.package_name, parent_id=refusal.batch_id, child_id=child_id)
        await splitting.make_child(
            connection, refusal.batch_id, child_id=child_id, package_name=name, items=items
        )
    return True


def errors_of(refusal: Refusal, bad: Mapping[str, str]) -> dict[str, ItemError]:
    """Return the error of each bad item: the vendor's no, and what its list has against the item."""
    no = rejection(refusal.no)
    return {item: replace(no, message=f"{no.message} Item {item}: {fault}.") for item, fault in bad.items()}
