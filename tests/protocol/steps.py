"""What may happen next in the model: one function a step, each yields its name and the world after it."""

from collections.abc import Iterator

from tests.protocol.world import (
    ABSENT,
    ANSWERED,
    CALLING,
    CHECKED,
    CLAIMED,
    ENDS,
    EXPIRED,
    FAILED,
    FLYING,
    IDLE,
    IN_DOUBT,
    NEEDS_ATTENTION,
    NO,
    REFUSED,
    REJECTED,
    RELEASED,
    SEALED,
    SENDING,
    SPLIT,
    UNKNOWN,
    WAITING,
    YES,
    Batch,
    Request,
    Variant,
    Worker,
    World,
)

Step = tuple[str, World]
#: The item that the vendor never takes.
POISON = "b"


def steps(world: World, variant: Variant) -> Iterator[Step]:
    """Yield everything that may happen next."""
    for index, worker in enumerate(world.workers):
        yield from _steps_of_worker(world, variant, index, worker)
    for request in world.requests:
        yield from _steps_of_request(world, variant, request)
    for index, batch in enumerate(world.batches):
        yield from _steps_of_batch(world, variant, index, batch)
    for index in world.hidden:
        yield f"the list shows batch {index}", world._replace(hidden=world.hidden - {index})


def _steps_of_worker(world: World, variant: Variant, index: int, worker: Worker) -> Iterator[Step]:
    by_phase = {
        IDLE: _claim,
        CLAIMED: _check,
        CHECKED: _write,
        CALLING: _hear_nothing,
        ANSWERED: _write_outcome,
    }
    yield from by_phase[worker.phase](world, variant, index)
    if worker.phase != IDLE:
        yield f"worker {index} is killed", _kill(world, variant, index, worker)


def _hear_nothing(world: World, _: Variant, index: int) -> Iterator[Step]:
    deaf = world.workers[index]._replace(phase=ANSWERED, answer=UNKNOWN)
    yield f"worker {index} hears nothing", _with_worker(world, index, deaf)


def _write_outcome(world: World, variant: Variant, index: int) -> Iterator[Step]:
    worker = world.workers[index]
    yield f"worker {index} settles {worker.answer}", _settle(world, variant, index, worker)


def _claim(world: World, variant: Variant, index: int) -> Iterator[Step]:
    for number, batch in enumerate(world.batches):
        if batch.state in {WAITING, SEALED} and _may_be_sent(batch, variant):
            claimed = batch._replace(state=SENDING, epoch=batch.epoch + 1, was_refused=False)
            worker = Worker(phase=CLAIMED, batch=number, epoch=claimed.epoch)
            yield (
                f"worker {index} claims batch {number}",
                _with_worker(_with_batch(world, number, claimed), index, worker),
            )


def _check(world: World, variant: Variant, index: int) -> Iterator[Step]:
    worker = world.workers[index]
    batch = world.batches[worker.batch]
    lease_holds = batch.state == SENDING and batch.epoch == worker.epoch
    if lease_holds or not variant.has_last_check:
        yield (
            f"worker {index} passes its last check",
            _with_worker(world, index, worker._replace(phase=CHECKED)),
        )
    else:
        yield f"worker {index} finds its lease over", _with_worker(world, index, Worker())


def _write(world: World, _: Variant, index: int) -> Iterator[Step]:
    worker = world.workers[index]
    batch = world.batches[worker.batch]
    request = Request(batch=worker.batch, worker=index, epoch=worker.epoch)
    sent = _with_batch(world, worker.batch, batch._replace(sends=batch.sends + 1))
    yield (
        f"worker {index} writes its request",
        _with_worker(
            sent._replace(requests=tuple(sorted((*world.requests, request)))),
            index,
            worker._replace(phase=CALLING),
        ),
    )


def _settle(world: World, variant: Variant, index: int, worker: Worker) -> World:
    batch = world.batches[worker.batch]
    idle = _with_worker(world, index, Worker())
    is_ours = batch.epoch == worker.epoch and batch.state == SENDING
    if not (is_ours or not variant.has_epoch):
        return idle
    if worker.answer == YES:
        settled = batch._replace(state=RELEASED)
    elif worker.answer == UNKNOWN:
        settled = _doubt(batch)
    elif batch.was_in_doubt:
        settled = _doubt(batch)._replace(was_refused=True)
    else:
        settled = batch._replace(state=REFUSED if len(batch.items) > 1 else REJECTED)
    return _with_batch(idle, worker.batch, settled)


def _kill(world: World, variant: Variant, index: int, worker: Worker) -> World:
    """A killed worker leaves what is in Postgres; without a written attempt its batch looks as if never claimed."""
    batch = world.batches[worker.batch]
    killed = _with_worker(world, index, Worker())
    if not variant.has_intent and (batch.state, batch.epoch) == (SENDING, worker.epoch):
        return _with_batch(killed, worker.batch, batch._replace(state=SEALED))
    return killed


def _steps_of_request(world: World, variant: Variant, request: Request) -> Iterator[Step]:
    others = list(world.requests)
    others.remove(request)
    if request.status == FLYING:
        yield f"a request of batch {request.batch} is lost", world._replace(requests=tuple(others))
        yield (
            f"the vendor gets a request of batch {request.batch}",
            _arrive(world, variant, request, others),
        )
        return
    without = world._replace(requests=tuple(others))
    worker = world.workers[request.worker]
    yield f"the answer {request.status} is lost", without
    if (worker.phase, worker.batch, worker.epoch) == (CALLING, request.batch, request.epoch):
        heard = worker._replace(phase=ANSWERED, answer=request.status)
        yield (
            f"worker {request.worker} hears {request.status}",
            _with_worker(without, request.worker, heard),
        )


def _arrive(world: World, variant: Variant, request: Request, others: list[Request]) -> World:
    items = world.batches[request.batch].items
    is_packaged = any(world.packages_of(item) for item in items)
    is_taken = POISON not in items and not (variant.is_strict and is_packaged)
    answered = request._replace(status=YES if is_taken else NO)
    after = world._replace(requests=tuple(sorted((*others, answered))))
    if not is_taken:
        return after
    made = tuple(count + (index == request.batch) for index, count in enumerate(world.made))
    return after._replace(made=made, hidden=world.hidden | {request.batch})


def _steps_of_batch(world: World, variant: Variant, index: int, batch: Batch) -> Iterator[Step]:
    by_state = {
        WAITING: _steps_of_waiting,
        SENDING: _steps_of_sending,
        REFUSED: _steps_of_refused,
        IN_DOUBT: _steps_of_doubt,
        SPLIT: _steps_of_split,
        ABSENT: _steps_of_absent,
    }
    if batch.state in by_state:
        yield from by_state[batch.state](world, variant, index)


def _steps_of_waiting(world: World, _: Variant, index: int) -> Iterator[Step]:
    expired = world.batches[index]._replace(state=EXPIRED)
    yield f"the deadline of batch {index} passes", _with_batch(world, index, expired)


def _steps_of_sending(world: World, variant: Variant, index: int) -> Iterator[Step]:
    taken_over = _taken_over(world.batches[index], variant)
    yield f"the lease of batch {index} runs out", _with_batch(world, index, taken_over)


def _steps_of_refused(world: World, _: Variant, index: int) -> Iterator[Step]:
    yield f"batch {index} is parted", _parted(world, index, range(index + 1, index + 3))


def _steps_of_doubt(world: World, variant: Variant, index: int) -> Iterator[Step]:
    batch = world.batches[index]
    if batch.is_quiet:
        looked_up, given_up = _looked_up(world, variant, index), batch._replace(state=NEEDS_ATTENTION)
        yield f"batch {index} is looked up", _with_batch(world, index, looked_up)
        yield f"batch {index} is given up", _with_batch(world, index, given_up)
    elif _may_be_quiet(world, variant, index):
        quiet = batch._replace(is_quiet=True)
        yield f"the settle time of batch {index} is over", _with_batch(world, index, quiet)


def _steps_of_split(world: World, variant: Variant, index: int) -> Iterator[Step]:
    last = len(world.batches) - 1
    if not variant.split_is_fenced and world.batches[last].state == ABSENT:
        yield f"batch {index} is parted again", _parted(world, index, range(last, last + 1))


def _steps_of_absent(world: World, variant: Variant, index: int) -> Iterator[Step]:
    """The second of two batches of one item begins when the first has given the item up; parts begin with a split."""
    holder = world.batches[0]
    is_free = holder.state in {REJECTED, FAILED, EXPIRED} or not variant.has_one_holder
    if is_free and holder.items == world.batches[index].items:
        asked = world.batches[index]._replace(state=WAITING)
        yield f"the item is asked for again, as batch {index}", _with_batch(world, index, asked)


def _taken_over(batch: Batch, variant: Variant) -> Batch:
    fenced = batch._replace(epoch=batch.epoch + 1)
    if variant.expiry_is_doubt:
        return _doubt(fenced)
    return fenced._replace(state=SEALED if _may_be_sent(fenced, variant) else FAILED)


def _may_be_sent(batch: Batch, variant: Variant) -> bool:
    return batch.sends < variant.most_sends and batch.epoch < variant.most_epochs


def _doubt(batch: Batch) -> Batch:
    return batch._replace(state=IN_DOUBT, was_in_doubt=True, was_refused=False, is_quiet=False, looks=0)


def _may_be_quiet(world: World, variant: Variant, index: int) -> bool:
    """The settle time outlasts whatever is under way, except for what the variant says may take longer."""
    if not variant.has_settle_time:
        return True
    flies = any(request.batch == index and request.status == FLYING for request in world.requests)
    stalls = any((worker.phase, worker.batch) == (CHECKED, index) for worker in world.workers)
    lags = index in world.hidden
    return not flies and (variant.may_stall_long or not stalls) and (variant.may_lag_long or not lags)


def _looked_up(world: World, variant: Variant, index: int) -> Batch:
    batch = world.batches[index]
    if world.made[index] and index not in world.hidden:
        return batch._replace(state=RELEASED)
    if any(world.shows(item) for item in batch.items):
        return batch._replace(looks=0)
    if batch.looks == 0:
        return batch._replace(looks=1)
    if batch.was_refused:
        return batch._replace(state=REFUSED if len(batch.items) > 1 else REJECTED)
    if variant.is_park:
        return batch._replace(state=NEEDS_ATTENTION)
    return batch._replace(state=SEALED if _may_be_sent(batch, variant) else FAILED)


def _parted(world: World, index: int, children: range) -> World:
    """The end of the parent and the beginning of its parts are one transaction."""
    parted = _with_batch(world, index, world.batches[index]._replace(state=SPLIT))
    for child in children:
        parted = _with_batch(parted, child, parted.batches[child]._replace(state=SEALED))
    return parted


def _with_batch(world: World, index: int, batch: Batch) -> World:
    return world._replace(batches=(*world.batches[:index], batch, *world.batches[index + 1 :]))


def _with_worker(world: World, index: int, worker: Worker) -> World:
    return world._replace(workers=(*world.workers[:index], worker, *world.workers[index + 1 :]))


def is_at_rest(world: World) -> bool:
    """Tell whether every batch has ended."""
    return all(batch.state in ENDS for batch in world.batches)
