"""Makes worlds equal that no step can tell apart, so that the walk meets each of them once.

Of an epoch it only counts whether it is its batch's, and a request whose worker has turned away is nobody's.
"""

from tests.protocol.world import CALLING, FLYING, Batch, Request, Worker, World

NOBODY = -1


def same(world: World) -> World:
    """Return the one world that stands for all those like this."""
    workers = tuple(_worker(worker, world.batches) for worker in world.workers)
    requests = [_request(request, world.workers, workers) for request in world.requests]
    return world._replace(
        batches=tuple(_batch(batch) for batch in world.batches),
        workers=workers,
        requests=tuple(sorted(one for one in requests if one.worker != NOBODY or one.status == FLYING)),
    )


def _batch(batch: Batch) -> Batch:
    return batch if batch.epoch == 1 else batch._replace(epoch=1)


def _worker(worker: Worker, batches: tuple[Batch, ...]) -> Worker:
    epoch = int(worker.epoch == batches[worker.batch].epoch)
    return worker if worker.epoch == epoch else worker._replace(epoch=epoch)


def _request(request: Request, before: tuple[Worker, ...], after: tuple[Worker, ...]) -> Request:
    if request.worker == NOBODY:
        return request
    caller = before[request.worker]
    if (caller.phase, caller.batch, caller.epoch) == (CALLING, request.batch, request.epoch):
        epoch = after[request.worker].epoch
        return request if request.epoch == epoch else request._replace(epoch=epoch)
    return request._replace(worker=NOBODY, epoch=NOBODY)
