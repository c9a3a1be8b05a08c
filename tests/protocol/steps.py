"""What workers, requests and the vendor may do next: one function a step, each yields its name and the world after."""

from collections.abc import Iterator

from tests.protocol.doubts import doubted, steps_of_batch
from tests.protocol.rules import after_call
from tests.protocol.world import (
    ANSWERED,
    CALLING,
    CHECKED,
    CLAIMED,
    FLYING,
    IDLE,
    IN_DOUBT,
    SEALED,
    SENDING,
    WAITING,
    Answer,
    Batch,
    Request,
    Step,
    Variant,
    Worker,
    World,
)

#: The item that the vendor never takes.
POISON = "b"


def steps(world: World, variant: Variant) -> Iterator[Step]:
    """Yield everything that may happen next."""
    for index, worker in enumerate(world.workers):
        yield from _steps_of_worker(world, variant, index, worker)
    for request in world.requests:
        yield from _steps_of_request(world, variant, request)
    for index, batch in enumerate(world.batches):
        if batch.state == SENDING:
            yield f"the lease of batch {index} runs out", world.with_batch(index, _taken_over(batch, variant))
        yield from steps_of_batch(world, variant, index)
    for index in world.hidden:
        yield f"the list shows batch {index}", world._replace(hidden=world.hidden - {index})


def _steps_of_worker(world: World, variant: Variant, index: int, worker: Worker) -> Iterator[Step]:
    by_phase = {
        IDLE: _claim,
        CLAIMED: _connect,
        CHECKED: _write,
        CALLING: _hear_nothing,
        ANSWERED: _write_outcome,
    }
    yield from by_phase[worker.phase](world, variant, index)
    if worker.phase != IDLE:
        yield f"worker {index} is killed", _kill(world, variant, index, worker)


def _claim(world: World, _: Variant, index: int) -> Iterator[Step]:
    """Claim anything that waits; of idle workers the first, since they are all alike."""
    if any(worker.phase == IDLE for worker in world.workers[:index]):
        return
    for number, batch in enumerate(world.batches):
        if batch.state in {WAITING, SEALED}:
            claimed = batch._replace(state=SENDING, epoch=batch.epoch + 1, was_refused=False, absent=0)
            worker = Worker(phase=CLAIMED, batch=number, epoch=claimed.epoch)
            yield (
                f"worker {index} claims batch {number}",
                world.with_batch(number, claimed).with_worker(index, worker),
            )


def _connect(world: World, variant: Variant, index: int) -> Iterator[Step]:
    worker = world.workers[index]
    batch = world.batches[worker.batch]
    lease_holds = (batch.state, batch.epoch) == (SENDING, worker.epoch)
    yield f"worker {index} gets no connection", _heard(world, index, Answer.NO_CONNECTION)
    if lease_holds or not variant.has_last_check:
        passed = world.with_worker(index, worker._replace(phase=CHECKED))
        yield f"worker {index} passes its last check", passed
    if not lease_holds:
        yield f"worker {index} finds its lease over", _heard(world, index, Answer.TOO_LATE)
    elif world.free_calls:
        late = world._replace(free_calls=world.free_calls - 1)
        yield f"worker {index} finds its lease over first", _heard(late, index, Answer.TOO_LATE)


def _write(world: World, _: Variant, index: int) -> Iterator[Step]:
    worker = world.workers[index]
    request = Request(batch=worker.batch, worker=index, epoch=worker.epoch)
    sent = world._replace(requests=tuple(sorted((*world.requests, request))))
    yield f"worker {index} writes its request", sent.with_worker(index, worker._replace(phase=CALLING))


def _hear_nothing(world: World, _: Variant, index: int) -> Iterator[Step]:
    yield f"worker {index} hears nothing", _heard(world, index, Answer.UNKNOWN)


def _heard(world: World, index: int, answer: Answer) -> World:
    return world.with_worker(index, world.workers[index]._replace(phase=ANSWERED, answer=answer))


def _write_outcome(world: World, variant: Variant, index: int) -> Iterator[Step]:
    worker = world.workers[index]
    batch = world.batches[worker.batch]
    settled = world.with_worker(index, Worker())
    if not variant.has_epoch or (batch.state, batch.epoch) == (SENDING, worker.epoch):
        settled = settled.with_batch(worker.batch, judged(batch, worker.answer, variant))
    yield f"worker {index} settles: {worker.answer}", settled


def judged(batch: Batch, answer: Answer, variant: Variant) -> Batch:
    """Return a batch after the service's verdict on an answer."""
    verdict = after_call(
        answer,
        tries=batch.tries,
        items=len(batch.items),
        was_in_doubt=batch.doubts > 0,
        most_tries=variant.most_tries,
    )
    counted = batch._replace(state=verdict.batch_state.value, tries=batch.tries + verdict.is_counted)
    return doubted(counted, verdict) if counted.state == IN_DOUBT else counted


def _taken_over(batch: Batch, variant: Variant) -> Batch:
    answer = Answer.UNKNOWN if variant.expiry_is_doubt else Answer.NO_CONNECTION
    return judged(batch._replace(epoch=batch.epoch + 1), answer, variant)


def _kill(world: World, variant: Variant, index: int, worker: Worker) -> World:
    """A killed worker leaves what is in Postgres; without a written attempt its batch looks as if never claimed."""
    batch = world.batches[worker.batch]
    killed = world.with_worker(index, Worker())
    if not variant.has_intent and (batch.state, batch.epoch) == (SENDING, worker.epoch):
        return killed.with_batch(worker.batch, batch._replace(state=SEALED))
    return killed


def _steps_of_request(world: World, variant: Variant, request: Request) -> Iterator[Step]:
    others = list(world.requests)
    others.remove(request)
    without = world._replace(requests=tuple(others))
    if request.status == FLYING:
        yield f"a request of batch {request.batch} is lost", without
        yield from _arrive(without, variant, request)
        return
    worker = world.workers[request.worker]
    yield f"the answer to a request of batch {request.batch} is lost", without
    if (worker.phase, worker.batch, worker.epoch) == (CALLING, request.batch, request.epoch):
        heard = _heard(without, request.worker, Answer(request.status))
        yield f"worker {request.worker} hears {request.status}", heard


def _arrive(without: World, variant: Variant, request: Request) -> Iterator[Step]:
    """The vendor makes a package or refuses, or its gateway throttles."""
    items = without.batches[request.batch].items
    is_packaged = any(without.packages_of(item) for item in items)
    if POISON in items or (variant.is_strict and is_packaged):
        yield f"the vendor refuses batch {request.batch}", _answered(without, request, Answer.NO)
    else:
        made = tuple(count + (index == request.batch) for index, count in enumerate(without.made))
        released = without._replace(made=made, hidden=without.hidden | {request.batch})
        yield f"the vendor packages batch {request.batch}", _answered(released, request, Answer.YES)
    if without.free_calls:
        throttled = without._replace(free_calls=without.free_calls - 1)
        yield f"the vendor throttles batch {request.batch}", _answered(throttled, request, Answer.THROTTLED)


def _answered(world: World, request: Request, answer: Answer) -> World:
    return world._replace(requests=tuple(sorted((*world.requests, request._replace(status=answer)))))
