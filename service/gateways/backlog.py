"""How much lies in Redis: doorbells that wait, and jobs of the queue door."""

from arq.connections import ArqRedis

from service.core.gauges import Backlog
from service.gateways.queue import DOORBELL_QUEUE, translated


async def read_backlog(redis: ArqRedis, *, queue: str) -> Backlog:
    """Count what waits.

    Raises:
        QueueUnavailable: Redis does not answer, or a stranger has written under the names of the queues.
    """
    with translated():
        async with redis.pipeline(transaction=False) as pipe:
            pipe.zcard(DOORBELL_QUEUE)
            pipe.zcard(queue)
            doorbells, jobs = await pipe.execute()
    return Backlog(doorbells=doorbells, jobs=jobs)
