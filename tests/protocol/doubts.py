"""What may happen to a batch that no worker has: waits, looks into the vendor's lists, the parting of a refused one."""

from collections.abc import Iterator, Sequence

from service.core.model import AttemptOutcome
from service.core.verdict import Verdict
from tests.protocol.rules import PATIENCE, UNREADABLE, after_look, look_at, parts_of, wait_of
from tests.protocol.world import (
    ABSENT,
    CHECKED,
    EXPIRED,
    FAILED,
    FLYING,
    IN_DOUBT,
    NEEDS_ATTENTION,
    REFUSED,
    REJECTED,
    RELEASED,
    SEALED,
    SPLIT,
    WAITING,
    Batch,
    Lag,
    Step,
    Variant,
    Wait,
    World,
)


def steps_of_batch(world: World, variant: Variant, index: int) -> Iterator[Step]:
    """Yield what may happen to a batch."""
    by_state = {
        WAITING: _steps_of_waiting,
        REFUSED: _steps_of_refused,
        IN_DOUBT: _steps_of_doubt,
        NEEDS_ATTENTION: _steps_of_parked,
        SPLIT: _steps_of_split,
        ABSENT: _steps_of_absent,
    }
    state = world.batches[index].state
    if state in by_state:
        yield from by_state[state](world, variant, index)


def doubted(batch: Batch, verdict: Verdict) -> Batch:
    """Return a batch at the beginning of a doubt."""
    return batch._replace(
        doubts=min(batch.doubts + 1, 2),
        was_refused=verdict.outcome is AttemptOutcome.REJECTED,
        wait=wait_of(verdict.delay),
        absent=0,
    )


def _steps_of_waiting(world: World, _: Variant, index: int) -> Iterator[Step]:
    expired = world.batches[index]._replace(state=EXPIRED)
    yield f"the deadline of batch {index} passes", world.with_batch(index, expired)


def _steps_of_doubt(world: World, variant: Variant, index: int) -> Iterator[Step]:
    batch = world.batches[index]
    if batch.wait == Wait.NOTHING:
        packaged = world.packaged(batch.items, variant)
        looks = (look_at(batch.items, packages=world.listed(index), packaged=packaged), UNREADABLE)
        for look in looks:
            for is_over in (False, True):
                looked = after_look(batch, look, variant, is_over=is_over)
                name = f"batch {index} is looked up: {type(look).__name__.lower()}, {looked.state}"
                yield name, world.with_batch(index, batch._replace(**looked._asdict()))
    elif _may_end(world, variant, index):
        yield (
            f"batch {index} has waited for {batch.wait}",
            world.with_batch(index, batch._replace(wait=Wait.NOTHING)),
        )


def _may_end(world: World, variant: Variant, index: int) -> bool:
    """A wait outlasts whatever is under way, except for what the variant says may take longer."""
    if not variant.has_settle_time:
        return True
    batch = world.batches[index]
    if index in world.hidden and variant.lag <= _outlasts(batch):
        return False
    return batch.wait == Wait.RECHECK or _is_quiet(world, variant, index)


def _is_quiet(world: World, variant: Variant, index: int) -> bool:
    """Tell whether no call of a batch is under way, as far as anybody who waits long can know."""
    flies = any(request.batch == index and request.status == FLYING for request in world.requests)
    stalls = any((worker.phase, worker.batch) == (CHECKED, index) for worker in world.workers)
    return not flies and (variant.may_stall_long or not stalls)


def _outlasts(batch: Batch) -> Lag:
    """Return the longest lag of the lists that is over when the wait of a batch ends."""
    if batch.wait == Wait.SETTLE:
        return Lag.SETTLE
    return Lag.PATIENCE if batch.absent == PATIENCE else Lag.RECHECK


def _steps_of_parked(world: World, variant: Variant, index: int) -> Iterator[Step]:
    """An operator finds the package, or has the call made again, or has done with it."""
    if not variant.has_operator or (variant.is_operator_patient and not _is_quiet(world, variant, index)):
        return
    batch = world.batches[index]._replace(epoch=world.batches[index].epoch + 1)
    if world.made[index]:
        yield (
            f"an operator finds the package of batch {index}",
            world.with_batch(index, batch._replace(state=RELEASED)),
        )
        return
    yield f"an operator rejects batch {index}", world.with_batch(index, batch._replace(state=REJECTED))
    if batch.tries <= variant.most_tries:
        yield (
            f"an operator has batch {index} sent again",
            world.with_batch(index, batch._replace(state=SEALED)),
        )


def _steps_of_refused(world: World, variant: Variant, index: int) -> Iterator[Step]:
    items = world.batches[index].items
    was_in_doubt = variant.is_doubt_kept and world.batches[index].doubts > 0
    splits = {
        name: parts_of(items, packaged=seen, was_in_doubt=was_in_doubt)
        for name, seen in (("with", world.packaged(items, variant)), ("without", ""))
    }
    for name, split in splits.items():
        parts = ["".join(group) for group in split.groups]
        parted = _parted(world, index, parts, doubts=world.batches[index].doubts if was_in_doubt else 0)
        yield f"batch {index} is parted {name} the list", parted


def _steps_of_split(world: World, variant: Variant, index: int) -> Iterator[Step]:
    if not variant.split_is_fenced:
        parts = ["".join(group) for group in parts_of(world.batches[index].items, packaged="").groups]
        yield f"batch {index} is parted again", _parted(world, index, parts)


def _parted(world: World, index: int, parts: Sequence[str], *, doubts: int = 0) -> World:
    """The end of the parent and the beginning of its parts, with its doubts, are one transaction."""
    state = SPLIT if parts else REJECTED
    parted = world.with_batch(index, world.batches[index]._replace(state=state))
    free = [
        number for number, batch in enumerate(world.batches) if (batch.state, batch.items) == (ABSENT, "")
    ]
    for number, items in zip(free, parts, strict=False):
        parted = parted.with_batch(number, Batch(items=items, state=SEALED, doubts=doubts))
    return parted


def _steps_of_absent(world: World, variant: Variant, index: int) -> Iterator[Step]:
    """The second of two batches of one item begins when the first has given the item up; parts begin with a split."""
    holder = world.batches[0]
    is_free = holder.state in {REJECTED, FAILED, EXPIRED} or not variant.has_one_holder
    if is_free and holder.items == world.batches[index].items:
        asked = world.batches[index]._replace(state=WAITING)
        yield f"the item is asked for again, as batch {index}", world.with_batch(index, asked)
